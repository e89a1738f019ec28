export {
  type BadRelease,
  type BoardView,
  type Event,
  type Machine,
  type Rebooting,
  type Release,
  type Resting,
  START,
  type State,
  type StateKind,
} from './state.ts';
export { isBad, isResting, transition } from './transition.ts';
