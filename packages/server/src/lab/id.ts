/** Ids of devices of board jobs begin so; no other device may. */
export const LAB_PREFIX = 'treeline-lab-';

/** Whether an id is that of a device of a board job, which is not of the fleet. */
export function isLabDevice(id: string): boolean {
  return id.startsWith(LAB_PREFIX);
}
