import type { Command } from 'commander';
import type { Session } from './session.ts';

/** A verb: how it shows in `treeline --help`, and the module that declares its options and does it. */
export type Verb = {
  name: string;
  /** Another name of it. */
  alias?: string;
  /** How its arguments show in the list of verbs. */
  usage: string;
  summary: string;
  hidden?: boolean;
  load(): Promise<VerbModule>;
};

/** What a verb's module exports: it gives the command its arguments, options, help and action. */
export type VerbModule = { declare(command: Command, session: Session): void };

/** Every verb, in the order of `treeline --help`. Modules are loaded only for the verb that is called. */
export const verbs: Verb[] = [
  { name: 'up', usage: '', summary: 'start the server, here, in this terminal', load: () => import('./verbs/up.ts') },
  {
    name: 'project',
    usage: 'add|list|remove',
    summary: 'the git repositories that pipelines come from',
    load: () => import('./verbs/project.ts'),
  },
  {
    name: 'run',
    usage: '[PROJECT]',
    summary: 'fetch and run what is new; --wait watches it',
    load: () => import('./verbs/run.ts'),
  },
  { name: 'runs', usage: '', summary: 'the latest runs', load: () => import('./verbs/runs.ts') },
  {
    name: 'status',
    usage: '[RUN]',
    summary: 'the jobs of a run: state, why it ran again, time',
    load: () => import('./verbs/status.ts'),
  },
  { name: 'cancel', usage: 'RUN', summary: 'cancel a run', load: () => import('./verbs/cancel.ts') },
  { name: 'logs', usage: 'JOB', summary: 'what a job printed', load: () => import('./verbs/logs.ts') },
  {
    name: 'push',
    usage: '[REMOTE] REF',
    summary: 'send a commit to a server: only what is missing there',
    load: () => import('./verbs/push.ts'),
  },
  {
    name: 'publish',
    usage: 'COMMIT --to CHANNEL',
    summary: 'make commits the releases of channels',
    load: () => import('./verbs/publish.ts'),
  },
  {
    name: 'release',
    usage: '[list|show|revert|…]',
    summary: 'what was published when, and how to take it back',
    load: () => import('./verbs/release.ts'),
  },
  {
    name: 'repository',
    usage: '[list|show|add|…]',
    summary: 'the published repositories and how each is run',
    load: () => import('./verbs/repository.ts'),
  },
  {
    name: 'prune',
    usage: '[REPOSITORY]',
    summary: 'delete what nothing keeps any more; --dry-run says what and why',
    load: () => import('./verbs/prune.ts'),
  },
  {
    name: 'pin',
    usage: '[REV]',
    summary: 'keep a commit whatever retention says',
    load: () => import('./verbs/pin.ts'),
  },
  { name: 'unpin', usage: 'REV', summary: 'take a pin back', load: () => import('./verbs/unpin.ts') },
  {
    name: 'du',
    usage: '[REPO[:CHANNEL]]',
    summary: 'what repositories, refs and releases take on the disk',
    load: () => import('./verbs/du.ts'),
  },
  {
    name: 'label',
    usage: '[REV] [LABEL]',
    summary: 'who may have a commit and what is made from it',
    load: () => import('./verbs/label.ts'),
  },
  {
    name: 'show',
    usage: 'REV',
    summary: 'what a commit is and from what it was made',
    load: () => import('./verbs/show.ts'),
  },
  { name: 'diff', usage: 'FROM TO', summary: 'exactly the files that differ', load: () => import('./verbs/diff.ts') },
  {
    name: 'checkout',
    usage: 'REV DIR',
    summary: 'make a workspace: the tree of a commit, or of a device, to change',
    load: () => import('./verbs/checkout.ts'),
  },
  {
    name: 'enter',
    usage: 'DIR [-- CMD…]',
    summary: 'a shell in a workspace, as root',
    load: () => import('./verbs/enter.ts'),
  },
  {
    name: 'commit',
    usage: '[DIR]',
    summary: 'commit a workspace into your own repository',
    load: () => import('./verbs/commit.ts'),
  },
  {
    name: 'serve',
    usage: '[DIR|REF]',
    summary: 'serve your commits to the devices that you name',
    load: () => import('./verbs/serve.ts'),
  },
  {
    name: 'devices',
    alias: 'device',
    usage: '[list|show|point|…]',
    summary: 'which board runs what, and why; point one at a commit of yours',
    load: () => import('./verbs/devices.ts'),
  },
  {
    name: 'token',
    usage: 'create|list|…',
    summary: 'who may do what, on which refs, until when',
    load: () => import('./verbs/token.ts'),
  },
  {
    name: 'whoami',
    usage: '',
    summary: 'who the server takes you for, and what you may do',
    load: () => import('./verbs/whoami.ts'),
  },
  {
    name: 'audit',
    usage: '',
    summary: 'who changed what, from where and when',
    load: () => import('./verbs/audit.ts'),
  },
  {
    name: 'ostreeify',
    usage: 'SOURCE FOLDER',
    summary: "make a distribution's root file system a tree that boots",
    load: () => import('./verbs/ostreeify.ts'),
  },
  {
    name: 'image',
    usage: 'COMMIT --board FILE',
    summary: 'a disk image of a system, for a board',
    load: () => import('./verbs/image.ts'),
  },
  {
    name: 'board',
    usage: '[list|run]',
    summary: 'boards; boot an image on one',
    load: () => import('./verbs/board.ts'),
  },
  {
    name: 'console',
    usage: '[ID]',
    summary: 'the serial line of a board that is being tried here',
    load: () => import('./verbs/console.ts'),
  },
  {
    name: 'agent',
    usage: 'enrol|run|status',
    summary: 'the update agent, on a device',
    load: () => import('./verbs/agent.ts'),
  },
  {
    name: 'export',
    usage: 'REPO DIR',
    summary: 'a copy of a published repository for any web server',
    load: () => import('./verbs/export.ts'),
  },
  {
    name: 'mirror',
    usage: 'URL DIR',
    summary: 'follow an OSTree remote: a copy that is whole at every moment',
    load: () => import('./verbs/mirror.ts'),
  },
  {
    name: 'nginx',
    usage: 'front|cache',
    summary: 'a configuration for nginx: in front of the server, or as a caching mirror',
    load: () => import('./verbs/nginx.ts'),
  },
  {
    name: 'runner',
    usage: '',
    summary: 'the embedded runner (started by the server)',
    hidden: true,
    load: () => import('./verbs/runner.ts'),
  },
];
