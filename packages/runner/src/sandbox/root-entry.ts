import type { IdShift } from '@treeline/ostree';
import { SHIFTED_IDS } from '@treeline/ostree';
import type { RootIds } from './root-ids.ts';

/*
 * How a root job gets into its namespaces. All is done by this machine's own programs, before anything of an image runs:
 *
 *   runner ── (not root: a user namespace with the runner as its root, and the job's ids)
 *     └─ a mount namespace: what the job may see is bound below /sys, read-only but for its own folders
 *          └─ a user namespace with nothing but the job's 65,536 ids
 *               └─ bwrap: mount, PID, network, … namespaces that belong to that user namespace
 *                    └─ the job
 *
 * A mount that comes from a more privileged namespace keeps its flags: the job may mount what it likes, but never make
 * writable what was bound read-only here. It all is one process, one program after the other: who kills it kills all.
 */

/** Where the sources of a root job's mounts are gathered: every machine has it, and no job is shown anything of it. */
const STAGE = '/sys';

/** Waits, as the process that has just got a user namespace, until its ids are there, then goes on as its root. */
const AS_ROOT = `until read -r _ </proc/self/uid_map; do sleep 0.01; done
exec setpriv --reuid 0 --regid 0 --clear-groups --inh-caps=-all --ambient-caps=-all --pdeathsig KILL -- "$@"`;

/** Gives the process that this shell becomes its ids, once it has a user namespace of its own. $map writes them. */
const MAPPER = `me=$$ own=$(readlink /proc/self/ns/user)
(
  until [ "$(readlink "/proc/$me/ns/user")" != "$own" ]; do sleep 0.01; done
  map || kill -9 "$me"
) &`;

/** Arguments of /bin/sh that run a command as root of a namespace that has the runner's user and the job's ids. */
function outerArguments({ host }: RootIds, command: string[]): string[] {
  const user = [process.getuid?.(), process.getgid?.()];
  const script = `set -eu
map() {
  newgidmap "$me" 0 ${user[1]} 1 1 ${host.gid} ${SHIFTED_IDS} && newuidmap "$me" 0 ${user[0]} 1 1 ${host.uid} ${SHIFTED_IDS}
}
${MAPPER}
exec unshare --user --keep-caps -- /bin/sh -c '${AS_ROOT}' sh "$@"`;
  return ['/bin/sh', '-c', script, 'sh', ...command];
}

/** A command of this machine that is run by somebody who may do everything with the files of root jobs. */
export function asOwnerOfAll(ids: RootIds, command: string[]): string[] {
  return ids.runnerIsRoot ? command : outerArguments(ids, command);
}

/** What a mount of a root job shows: a folder or file of this machine. */
export type StagedSource = { source: string; type: 'dir' | 'file'; writable: boolean };

/** Gathers sources while bubblewrap's options are made. */
export class Stage {
  readonly sources: StagedSource[] = [];

  /** The place of a source below STAGE. */
  place(source: StagedSource): string {
    this.sources.push(source);
    return `${STAGE}/${this.sources.length}`;
  }
}

/** The command that runs bubblewrap as root of the job's own user namespace, with the sources where Stage said. */
export function rootCommand(ids: RootIds, { sources }: Stage, bubblewrap: string[]): string[] {
  const staged = sources.flatMap(({ source, type, writable }) => [writable ? 'rw' : 'ro', type, source]);
  const command = ['unshare', '--mount', '/bin/sh', '-c', stageScript(ids.outer), 'sh', ...staged, '--', ...bubblewrap];
  return ['setpriv', '--pdeathsig', 'KILL', '--', ...asOwnerOfAll(ids, command)];
}

/** Takes `ro|rw dir|file PATH` three at a time, then `--` and a command. */
function stageScript({ uid, gid }: IdShift): string {
  return `set -eu
mount -t tmpfs -o mode=755,size=4M treeline ${STAGE}
number=0
while [ "$1" != -- ]; do
  number=$((number + 1))
  if [ "$2" = dir ]; then mkdir ${STAGE}/$number; else : >${STAGE}/$number; fi
  if [ "$1" = rw ]; then chown -hR ${uid}:${gid} "$3"; fi
  mount --rbind -o "$1,nosuid,nodev" "$3" ${STAGE}/$number
  shift 3
done
shift
map() {
  echo "0 ${gid} ${SHIFTED_IDS}" >"/proc/$me/gid_map" && echo "0 ${uid} ${SHIFTED_IDS}" >"/proc/$me/uid_map"
}
${MAPPER}
exec unshare --user --keep-caps -- /bin/sh -c '${AS_ROOT}' sh "$@"`;
}
