import type { RepoVerb } from './verb.ts';

/** A verb, loaded only when it is called: `treeline repo` is started by scripts hundreds of times. */
export interface VerbEntry {
  summary: string;
  load: () => Promise<RepoVerb>;
}

/** A verb that is a family of verbs, such as `remote add`. */
export interface VerbGroup {
  summary: string;
  verbs: Record<string, VerbEntry>;
}

/** The verbs of `treeline repo`, in the order of `ostree --help`. */
export const verbs: Record<string, VerbEntry | VerbGroup> = {
  cat: {
    summary: 'Concatenate contents of files',
    load: async () => (await import('./verbs/cat.ts')).cat,
  },
  checkout: {
    summary: 'Check out a commit into a filesystem tree',
    load: async () => (await import('./verbs/checkout.ts')).checkoutVerb,
  },
  checksum: {
    summary: 'Checksum a file or directory',
    load: async () => (await import('./verbs/checksum.ts')).checksumVerb,
  },
  commit: {
    summary: 'Commit a new revision',
    load: async () => (await import('./verbs/commit.ts')).commit,
  },
  config: {
    summary: 'Change repo configuration settings',
    load: async () => (await import('./verbs/config.ts')).config,
  },
  diff: {
    summary: 'Compare directory TARGETDIR against revision REV',
    load: async () => (await import('./verbs/diff.ts')).diff,
  },
  export: {
    summary: 'Stream COMMIT to stdout in tar format',
    load: async () => (await import('./verbs/export.ts')).exportVerb,
  },
  'find-remotes': {
    summary: 'Find remotes to serve the given refs',
    load: async () => (await import('./verbs/find-remotes.ts')).findRemotesVerb,
  },
  'create-usb': {
    summary: 'Copy the refs to a USB stick',
    load: async () => (await import('./verbs/create-usb.ts')).createUsb,
  },
  fsck: {
    summary: 'Check the repository for consistency',
    load: async () => (await import('./verbs/fsck.ts')).fsckVerb,
  },
  'gpg-sign': {
    summary: 'Sign a commit',
    load: async () => (await import('./verbs/gpg-sign.ts')).gpgSign,
  },
  init: {
    summary: 'Initialize a new empty repository',
    load: async () => (await import('./verbs/init.ts')).init,
  },
  log: {
    summary: 'Show log starting at commit or ref',
    load: async () => (await import('./verbs/log.ts')).log,
  },
  ls: {
    summary: 'List file paths',
    load: async () => (await import('./verbs/ls.ts')).ls,
  },
  prune: {
    summary: 'Search for unreachable objects',
    load: async () => (await import('./verbs/prune.ts')).pruneVerb,
  },
  'pull-local': {
    summary: 'Copy data from SRC_REPO',
    load: async () => (await import('./verbs/pull-local.ts')).pullLocal,
  },
  pull: {
    summary: 'Download data from remote repository',
    load: async () => (await import('./verbs/pull.ts')).pullVerb,
  },
  refs: {
    summary: 'List refs',
    load: async () => (await import('./verbs/refs.ts')).refs,
  },
  remote: {
    summary: 'Remote commands that may involve internet access',
    verbs: {
      add: {
        summary: 'Add a remote repository',
        load: async () => (await import('./verbs/remote.ts')).remoteAdd,
      },
      delete: {
        summary: 'Delete a remote repository',
        load: async () => (await import('./verbs/remote.ts')).remoteDelete,
      },
      'show-url': {
        summary: 'Show remote repository URL',
        load: async () => (await import('./verbs/remote.ts')).remoteShowUrl,
      },
      list: {
        summary: 'List remote repository names',
        load: async () => (await import('./verbs/remote.ts')).remoteList,
      },
      'add-cookie': {
        summary: 'Add a cookie to remote',
        load: async () => (await import('./verbs/remote-cookies.ts')).remoteAddCookie,
      },
      'delete-cookie': {
        summary: 'Remove one cookie from remote',
        load: async () => (await import('./verbs/remote-cookies.ts')).remoteDeleteCookie,
      },
      'list-cookies': {
        summary: 'Show remote repository cookies',
        load: async () => (await import('./verbs/remote-cookies.ts')).remoteListCookies,
      },
      'gpg-import': {
        summary: 'Import GPG keys',
        load: async () => (await import('./verbs/remote-gpg.ts')).remoteGpgImport,
      },
      'gpg-list-keys': {
        summary: 'Show remote GPG keys',
        load: async () => (await import('./verbs/remote-gpg.ts')).remoteGpgListKeys,
      },
      refs: {
        summary: 'List remote refs',
        load: async () => (await import('./verbs/remote-summary.ts')).remoteRefs,
      },
      summary: {
        summary: 'Show remote summary',
        load: async () => (await import('./verbs/remote-summary.ts')).remoteSummary,
      },
    },
  },
  reset: {
    summary: 'Reset a REF to a previous COMMIT',
    load: async () => (await import('./verbs/reset.ts')).reset,
  },
  'rev-parse': {
    summary: 'Output the target of a rev',
    load: async () => (await import('./verbs/rev-parse.ts')).revParse,
  },
  sign: {
    summary: 'Sign a commit',
    load: async () => (await import('./verbs/sign.ts')).sign,
  },
  show: {
    summary: 'Output a metadata object',
    load: async () => (await import('./verbs/show.ts')).show,
  },
  'static-delta': {
    summary: 'Static delta related commands',
    verbs: {
      list: {
        summary: 'List static delta files',
        load: async () => (await import('./verbs/static-delta.ts')).staticDeltaList,
      },
      show: {
        summary: 'Dump information on a delta',
        load: async () => (await import('./verbs/static-delta.ts')).staticDeltaShow,
      },
      delete: {
        summary: 'Remove a delta',
        load: async () => (await import('./verbs/static-delta.ts')).staticDeltaDelete,
      },
      generate: {
        summary: 'Generate static delta files',
        load: async () => (await import('./verbs/static-delta-generate.ts')).staticDeltaGenerate,
      },
      'apply-offline': {
        summary: 'Apply static delta file',
        load: async () => (await import('./verbs/static-delta-apply.ts')).staticDeltaApplyOffline,
      },
      verify: {
        summary: 'Verify static delta signatures',
        load: async () => (await import('./verbs/static-delta-apply.ts')).staticDeltaVerify,
      },
      indexes: {
        summary: 'List static delta indexes',
        load: async () => (await import('./verbs/static-delta.ts')).staticDeltaIndexes,
      },
      reindex: {
        summary: 'Regenerate static delta indexes',
        load: async () => (await import('./verbs/static-delta.ts')).staticDeltaReindex,
      },
    },
  },
  summary: {
    summary: 'Manage summary metadata',
    load: async () => (await import('./verbs/summary.ts')).summary,
  },
};

/** What `ostree` does not have. */
export const ownVerbs: Record<string, VerbEntry> = {
  serve: {
    summary: 'Serve the repository over HTTP',
    load: async () => (await import('./verbs/serve.ts')).serve,
  },
};
