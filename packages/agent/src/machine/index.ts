export {
  type BadRelease,
  type BoardView,
  type Event,
  type Machine,
  START,
  type State,
  type StateKind,
} from './state.ts';
export { isResting, transition } from './transition.ts';
