import { createHash } from 'node:crypto';

/** Numbers that a disk image needs and that must be the same for the same input. */
export interface ImageIdentity {
  disk: string;
  esp: string;
  root: string;
  rootFileSystem: string;
  hashSeed: string;
}

/** @param seed whatever the image depends on, in text */
export function imageIdentity(seed: string): ImageIdentity {
  const digest = (name: string) => createHash('sha256').update(`treeline image\n${name}\n${seed}`).digest('hex');
  const uuid = (name: string) => {
    const hex = digest(name);
    // Version 8, "made as one likes", of RFC 9562.
    const variant = ((Number.parseInt(hex.charAt(16), 16) & 3) | 8).toString(16);
    const groups = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`, `${variant}${hex.slice(17, 20)}`];
    return [...groups, hex.slice(20, 32)].join('-');
  };
  return {
    disk: uuid('disk'),
    esp: uuid('esp'),
    root: uuid('root'),
    rootFileSystem: uuid('root file system'),
    hashSeed: uuid('hash seed'),
  };
}
