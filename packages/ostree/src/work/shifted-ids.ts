import { OstreeError } from '../errors.ts';
import type { Xattr } from '../fs/syscalls.ts';

/**
 * Where the ids of a user namespace begin outside of it: a file that belongs to 0:42 inside belongs to
 * `uid`:`gid + 42` outside.
 */
export interface IdShift {
  uid: number;
  gid: number;
}

/** Ids that a namespace has: what Debian, and systemd for its containers, take for a whole system. */
export const SHIFTED_IDS = 65_536;

/** Owner outside of the namespace of what belongs to these ids inside. */
export function shiftedOwner({ uid, gid }: IdShift, owner: IdShift, path: string): IdShift {
  if (owner.uid >= SHIFTED_IDS || owner.gid >= SHIFTED_IDS) {
    throw new OstreeError('unsupported', `${path}: owner ${owner.uid}:${owner.gid} is beyond the ${SHIFTED_IDS} ids`);
  }
  return { uid: uid + owner.uid, gid: gid + owner.gid };
}

/** Owner inside of the namespace. Throws `unsupported` for one that the namespace does not have. */
export function ownerInside({ uid, gid }: IdShift, owner: IdShift, path: string): IdShift {
  const inside = { uid: owner.uid - uid, gid: owner.gid - gid };
  for (const id of [inside.uid, inside.gid]) {
    if (id >= 0 && id < SHIFTED_IDS) continue;
    throw new OstreeError('unsupported', `${path}: its owner ${owner.uid}:${owner.gid} is none of the namespace's`);
  }
  return inside;
}

const CAPABILITY = 'security.capability';
const ACLS = new Set(['system.posix_acl_access', 'system.posix_acl_default']);

/**
 * Extended attributes of a file as they have to be outside of the namespace. File capabilities and access lists name
 * ids and are changed; those of users (`user.*`) stay; others are left out: they are the machine's (labels of SELinux).
 */
export function shiftedXattrs(xattrs: readonly Xattr[], shift: IdShift): Xattr[] {
  return translate(xattrs, {
    capability: (value) => (value.length === 20 ? capabilityFor(value, shift.uid) : value),
    acl: (value) => shiftAcl(value, shift),
  });
}

/** The same the other way: as they are seen inside. */
export function xattrsInside(xattrs: readonly Xattr[], shift: IdShift): Xattr[] {
  return translate(xattrs, {
    capability: (value) => (rootOfCapability(value) === shift.uid ? capabilityForAll(value) : value),
    acl: (value) => shiftAcl(value, { uid: -shift.uid, gid: -shift.gid }),
  });
}

function translate(
  xattrs: readonly Xattr[],
  o: { capability: (value: Buffer) => Buffer; acl: (value: Buffer) => Buffer },
): Xattr[] {
  return xattrs.flatMap(([name, value]): Xattr[] => {
    const text = Buffer.from(name).toString('latin1');
    if (text === CAPABILITY) return [[name, o.capability(Buffer.from(value))]];
    if (ACLS.has(text)) return [[name, o.acl(Buffer.from(value))]];
    return text.startsWith('user.') ? [[name, value]] : [];
  });
}

/*
 * linux/capability.h: magic_etc (revision in the highest byte, flags below), two pairs of 32 bits, and in revision 3
 * the id of the root user of the namespace that the capabilities count in. All little-endian.
 */
const REVISION_MASK = 0xff000000;
const REVISION_2 = 0x02000000;
const REVISION_3 = 0x03000000;

function rootOfCapability(value: Buffer): number | undefined {
  if (value.length !== 24 || (value.readUInt32LE(0) & REVISION_MASK) !== REVISION_3) return undefined;
  return value.readUInt32LE(20);
}

function capabilityForAll(value: Buffer): Buffer {
  const all = Buffer.from(value.subarray(0, 20));
  all.writeUInt32LE(REVISION_2 | (value.readUInt32LE(0) & ~REVISION_MASK), 0);
  return all;
}

function capabilityFor(value: Buffer, root: number): Buffer {
  const own = Buffer.alloc(24);
  value.copy(own);
  own.writeUInt32LE(REVISION_3 | (value.readUInt32LE(0) & ~REVISION_MASK), 0);
  own.writeUInt32LE(root, 20);
  return own;
}

/* linux/posix_acl_xattr.h: a version, then entries of tag, permissions and id; only named users and groups have ids. */
const ACL_USER = 0x02;
const ACL_GROUP = 0x08;

function shiftAcl(value: Buffer, { uid, gid }: IdShift): Buffer {
  const shifted = Buffer.from(value);
  for (let at = 4; at + 8 <= shifted.length; at += 8) {
    const tag = shifted.readUInt16LE(at);
    const by = tag === ACL_USER ? uid : tag === ACL_GROUP ? gid : 0;
    if (by !== 0) shifted.writeUInt32LE((shifted.readUInt32LE(at + 4) + by) >>> 0, at + 4);
  }
  return shifted;
}
