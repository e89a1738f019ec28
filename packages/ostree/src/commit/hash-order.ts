/** Sizes of GLib's hash tables, by shift (`prime_mod` in ghash.c). */
const PRIMES = [1, 2, 3, 7, 13, 31, 61, 127, 251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521];
const MIN_SHIFT = 3;

interface Slot {
  key: string;
  hash: number;
}

/**
 * The order in which a GHashTable with these strings as its keys, inserted one after the other, is iterated over.
 * libostree passes the metadata of a bootable commit through one (GVariantDict), and the order of metadata is part of a
 * commit's checksum. GLib has placed keys like this since 2.60.
 */
export function hashTableOrder(keys: Iterable<string>): string[] {
  let shift = MIN_SHIFT;
  let slots: (Slot | undefined)[] = Array(1 << shift).fill(undefined);
  let count = 0;
  for (const key of keys) {
    const hash = stringHash(key);
    const at = place(slots, shift, hash, (slot) => slot === undefined || (slot.hash === hash && slot.key === key));
    if (slots[at]) continue;
    slots[at] = { key, hash };
    count++;
    if (slots.length > count + Math.floor(count / 16)) continue;
    shift = Math.max(MIN_SHIFT, bits(Math.trunc(count * 1.333)));
    slots = grown(slots, shift);
  }
  return slots.filter((slot) => slot !== undefined).map(({ key }) => key);
}

/** Where a hash goes: quadratic probing from its place until a slot is accepted. */
function place<T>(slots: readonly T[], shift: number, hash: number, accept: (slot: T) => boolean): number {
  let at = (Math.imul(hash, 11) >>> 0) % PRIMES[shift]!;
  for (let step = 1; !accept(slots[at]!); step++) at = (at + step) & (slots.length - 1);
  return at;
}

/** Keys are moved within one array: who is in the way of one that was moved is moved next. */
function grown(old: readonly (Slot | undefined)[], shift: number): (Slot | undefined)[] {
  const slots: (Slot | undefined)[] = [...old, ...Array<undefined>((1 << shift) - old.length).fill(undefined)];
  const moved: boolean[] = Array(slots.length).fill(false);
  for (let index = 0; index < old.length; index++) {
    let slot = slots[index];
    if (!slot || moved[index]) continue;
    slots[index] = undefined;
    while (slot) {
      const at: number = place(moved, shift, slot.hash, (taken) => !taken);
      moved[at] = true;
      const evicted: Slot | undefined = slots[at];
      slots[at] = slot;
      slot = evicted;
    }
  }
  return slots;
}

function bits(value: number): number {
  return value === 0 ? 0 : 32 - Math.clz32(value);
}

/** `g_str_hash`; 0 and 1 mean something else in a table. */
function stringHash(text: string): number {
  let hash = 5381;
  for (const byte of Buffer.from(text)) hash = (Math.imul(hash, 33) + ((byte << 24) >> 24)) >>> 0;
  return hash < 2 ? 2 : hash;
}
