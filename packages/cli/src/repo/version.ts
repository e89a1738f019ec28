/** The release of libostree whose behaviour `treeline repo` follows, and as which it introduces itself to servers. */
export const LIBOSTREE_VERSION = '2026.4';

/** What scripts look for in `ostree --version` before they use it: only what Treeline does too. */
const FEATURES = ['libcurl', 'gpgme', 'sign-ed25519', 'libarchive', 'p2p'];

/** The text of `--version`, as YAML. */
export function versionText(): string {
  const features = FEATURES.map((feature) => `  - ${feature}\n`).join('');
  return `libostree:\n Version: '${LIBOSTREE_VERSION}'\n Implementation: treeline\n Features:\n${features}`;
}
