import { createHash, randomBytes } from 'node:crypto';
import { existsSync, lstatSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../errors.ts';
import { type Checksum, isChecksum } from '../formats/object-name.ts';
import { writeFileDurably } from '../fs/durable.ts';
import { isRefName } from '../repo/refs.ts';
import type { Repo } from '../repo/repo.ts';
import { pool } from '../work/pool.ts';
import { receivedName } from '../work/receive-object.ts';
import type { ObjectToVerify } from '../work/verify-object.ts';
import type { ObjectId } from './object-list.ts';

/*
 * A push in the making is a folder `tmp/treeline-push-<id>` of the repository: objects that have been received and
 * hashed, as `<checksum>.<extension>`, small ones in folders `batch-<random>`; parts of large ones, `….part`; and
 * `session`, which says whose it is. It outlives the processes at both ends. A folder without a valid `session` is
 * nobody's.
 */

/** Whose push it is, and of what. The same push has the same session. */
export interface PushIdentity {
  /** Who sends. Nobody else may use the session. */
  owner: string;
  /** Null where the ref is known only at the end (see treehub's protocol). */
  ref: string | null;
  commit: Checksum | null;
}

const FOLDER = /^treeline-push-([0-9a-f]{32})$/;
const BEGUN = /^treeline-push-begun-[0-9a-f]{32}$/;
const FILE = 'session';
const OBJECT_NAME = /^([0-9a-f]{64})\.(filez|dirmeta|dirtree|commitmeta|commit)$/;
const PART = '.part';
const BATCH_NAME = /^batch-[0-9a-f]{16}$/;
const HOUR_MS = 3_600_000;
/** How exactly it is known when a session was used last. */
const TOUCH_MS = 60_000;

/** A name for a folder of objects that came together. */
export function newBatchName(): string {
  return `batch-${randomBytes(8).toString('hex')}`;
}

/** A push, with what it has received. */
export class PushSession {
  readonly id: string;
  readonly identity: PushIdentity;
  readonly path: string;
  /** Objects that are there, whole and hashed: their file names, and where in the folder they are. */
  readonly names = new Map<string, string>();
  /** Objects of which a part is there, by file name. */
  readonly parts = new Set<string>();
  /** Objects that are there, while something below them is not, by file name: known when a push could not be ended. */
  broken = new Set<string>();
  /** Bytes of the files in the folder, and of what is just arriving. */
  bytes = 0;
  /** Requests that work with it. */
  active = 0;
  usedAt: number;
  /** What just writes a part, and how to make it stop. */
  readonly writers = new Map<string, { stop(): void; stopped: Promise<void> }>();

  constructor(id: string, identity: PushIdentity, { path, usedAt }: { path: string; usedAt: number }) {
    this.id = id;
    this.identity = identity;
    this.path = path;
    this.usedAt = usedAt;
  }

  has({ type, checksum }: ObjectId): boolean {
    return this.names.has(receivedName(type, checksum));
  }

  /** How much of an object has been received; null when nothing has. */
  partBytes({ type, checksum }: ObjectId): number | null {
    const name = receivedName(type, checksum);
    if (!this.parts.has(name)) return null;
    return statSync(this.partPath(name), { throwIfNoEntry: false })?.size ?? null;
  }

  /** Where an object is that has been received; null when it has not. */
  pathOf(name: string): string | null {
    const file = this.names.get(name);
    return file === undefined ? null : join(this.path, file);
  }

  partPath(name: string): string {
    return join(this.path, name + PART);
  }

  /** Says that it is in use. False when its folder is gone: somebody has cleaned up. */
  touch(now: number): boolean {
    const file = join(this.path, FILE);
    if (!existsSync(file)) return false;
    if (now - this.usedAt < TOUCH_MS) return true;
    this.usedAt = now;
    utimesSync(file, now / 1000, now / 1000);
    return true;
  }

  /** Looks what is in the folder. What a killed process was just writing is removed. */
  async scan(): Promise<void> {
    let bytes = 0;
    const count = (file: string) => {
      bytes += lstatSync(join(this.path, file), { throwIfNoEntry: false })?.size ?? 0;
    };
    for (const file of await readdir(this.path)) {
      const whole = file.endsWith(PART) ? file.slice(0, -PART.length) : file;
      if (OBJECT_NAME.test(whole)) {
        if (whole === file) this.names.set(file, file);
        else this.parts.add(whole);
        count(file);
      } else if (BATCH_NAME.test(file)) {
        for (const name of await readdir(join(this.path, file))) {
          if (!OBJECT_NAME.test(name)) continue;
          this.names.set(name, `${file}/${name}`);
          count(`${file}/${name}`);
        }
      } else if (file !== FILE && this.active === 0) {
        rmSync(join(this.path, file), { recursive: true, force: true });
      }
    }
    this.bytes = bytes;
  }

  async remove(): Promise<void> {
    // First what makes it a session: half of one is none.
    await rm(join(this.path, FILE), { force: true });
    await rm(this.path, { recursive: true, force: true });
  }
}

/** The id of a push: whoever goes on with it need not have kept anything. */
export function sessionId({ owner, ref, commit }: PushIdentity): string {
  return createHash('sha256')
    .update(JSON.stringify([owner, ref, commit]))
    .digest('hex')
    .slice(0, 32);
}

interface SessionFile extends PushIdentity {
  version: 1;
  /** The start of the machine in which it was written: what a power failure has left is hashed again. */
  boot: string;
}

/** Makes the folder of a push. It is a session from the moment that it has its name. */
export async function createSession(repo: Repo, identity: PushIdentity, now: number): Promise<PushSession> {
  const id = sessionId(identity);
  const begun = join(repo.path, 'tmp', `treeline-push-begun-${id}`);
  const path = join(repo.path, 'tmp', `treeline-push-${id}`);
  await rm(begun, { recursive: true, force: true });
  await mkdir(begun, { recursive: true, mode: 0o700 });
  await writeSessionFile(begun, identity);
  utimesSync(join(begun, FILE), now / 1000, now / 1000);
  await rename(begun, path);
  return new PushSession(id, identity, { path, usedAt: now });
}

async function writeSessionFile(folder: string, identity: PushIdentity): Promise<void> {
  const file: SessionFile = { version: 1, ...identity, boot: bootId() };
  await writeFileDurably(join(folder, FILE), `${JSON.stringify(file)}\n`);
}

/** The sessions of a repository, as they were left; folders that are none are removed, and those that are too old. */
export async function loadSessions(repo: Repo, oldest: number): Promise<PushSession[]> {
  const folder = join(repo.path, 'tmp');
  const found: PushSession[] = [];
  for (const name of await readdir(folder).catch((): string[] => [])) {
    const path = join(folder, name);
    if (BEGUN.test(name)) await removeIfOld(path);
    const id = FOLDER.exec(name)?.[1];
    if (id === undefined) continue;
    const file = readSessionFile(path);
    const usedAt = statSync(join(path, FILE), { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (!file || sessionId(file) !== id || usedAt < oldest) {
      await rm(path, { recursive: true, force: true });
      continue;
    }
    const { owner, ref, commit } = file;
    const session = new PushSession(id, { owner, ref, commit }, { path, usedAt });
    await session.scan();
    if (file.boot !== bootId()) await hashAgain(session);
    found.push(session);
  }
  return found;
}

function readSessionFile(folder: string): SessionFile | null {
  let value: Partial<Record<keyof SessionFile, unknown>>;
  try {
    value = JSON.parse(readFileSync(join(folder, FILE), 'utf8')) as typeof value;
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error) !== undefined) return null;
    throw error;
  }
  const { version, owner, ref, commit, boot } = value;
  const isSound =
    version === 1 &&
    typeof owner === 'string' &&
    typeof boot === 'string' &&
    (ref === null || (typeof ref === 'string' && isRefName(ref))) &&
    (commit === null || (typeof commit === 'string' && isChecksum(commit)));
  return isSound ? (value as SessionFile) : null;
}

const BATCH = 256;

/** A machine that lost power may have files whose names are older than their content. */
async function hashAgain(session: PushSession): Promise<void> {
  const objects: ObjectToVerify[] = [];
  for (const [name, file] of session.names) {
    const [, checksum, extension] = OBJECT_NAME.exec(name)!;
    const path = join(session.path, file);
    // Has no checksum of its own; whoever pushes sends it again.
    if (extension === 'commitmeta') rmSync(path, { force: true });
    else objects.push({ type: extension === 'filez' ? 'file' : (extension as 'dirtree'), checksum: checksum!, path });
  }
  const format = { mode: 'archive' as const, ignoreXattrs: false };
  for (let at = 0; at < objects.length; at += BATCH) {
    const batch = objects.slice(at, at + BATCH);
    const cost = batch.reduce((sum, { path }) => sum + (lstatSync(path, { throwIfNoEntry: false })?.size ?? 0), 0);
    for (const { type, checksum } of await pool.run({ kind: 'verify-objects', format, objects: batch }, cost)) {
      rmSync(session.pathOf(receivedName(type as 'file', checksum))!, { force: true });
    }
  }
  session.names.clear();
  await writeSessionFile(session.path, session.identity);
  await session.scan();
}

async function removeIfOld(path: string): Promise<void> {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats && Date.now() - stats.mtimeMs > HOUR_MS) await rm(path, { recursive: true, force: true });
}

let boot: string | undefined;

function bootId(): string {
  boot ??= readBootId();
  return boot;
}

/** Where nobody says which start of the machine this is, every process counts as one. */
function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return `process ${process.pid} of ${Date.now()}`;
  }
}
