import { chmodSync, lchownSync, lstatSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { OstreeError } from '../errors.ts';
import { type Checksum, loosePath } from '../formats/object-name.ts';
import { makeCharacterDevice } from '../fs/device.ts';
import { readXattrs, writeXattrs } from '../fs/syscalls.ts';
import { fileExtension, type Repo } from '../repo/repo.ts';
import type { CheckoutTarget } from '../work/checkout-file.ts';
import { readObjectHeader } from '../work/object-header.ts';
import { inTheWay } from '../work/place-file.ts';

/** In layers of container images: what removes a path of a lower layer, and what empties a folder of it. */
export const WHITEOUT = '.wh.';
export const OPAQUE = '.wh..wh..opq';
/** How an overlayfs whiteout, a device, is kept in a tree. */
export const OVERLAY_WHITEOUT = '.ostree-wh.';

/** Makes an overlayfs whiteout with the attributes of the file that stands for it. */
export function makeOverlayWhiteout(repo: Repo, target: CheckoutTarget, checksum: Checksum, to: string): void {
  const object = join(repo.path, 'objects', loosePath(checksum, fileExtension(repo.mode)));
  const { header } = readObjectHeader(repo, object, checksum);
  const { uid, gid, xattrs } = header;
  const mode = header.mode & 0o7777;
  const { existing } = target.placement;
  const there = lstatSync(to, { throwIfNoEntry: false });
  if (there && existing === 'keep') return;
  if (there && existing === 'refuse') throw inTheWay(to);
  if (there && existing === 'identical') {
    const same =
      (target.userMode || (there.uid === uid && there.gid === gid && (there.mode & 0o7777) === mode)) &&
      (repo.ignoreXattrs || readXattrs(to).length === xattrs.length);
    if (same) return;
    throw new OstreeError('exists', `existing destination file ${to} does not match`);
  }
  if (there) rmSync(to);
  makeCharacterDevice(to, mode);
  if (target.userMode) return;
  writeXattrs(to, xattrs);
  lchownSync(to, uid, gid);
  chmodSync(to, mode);
}
