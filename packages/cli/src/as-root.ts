const MARKER = 'TREELINE_IN_USER_NAMESPACE';

/**
 * For verbs that make files of other owners. Root goes on; another user's command line is run again as root of a user
 * namespace, and this process ends with its exit code.
 */
export async function asRoot(): Promise<void> {
  if (process.getuid?.() === 0 || process.env[MARKER] !== undefined) return;
  const { rerunInUserNamespace } = await import('@treeline/board');
  process.exit(await rerunInUserNamespace(MARKER));
}
