/** A text as nginx takes it. */
export function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&')}"`;
}

/** Whether a text can be a path or a name in a configuration: nginx has no way to write a `$` that is none of its own. */
export function isPlain(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be in it
  return !/[$\x00-\x1f\x7f]/.test(text);
}

/** What is named by a hash of what it holds, in nginx's regular expressions: it never changes. */
export const IMMUTABLE_PATHS =
  'objects/[0-9a-f][0-9a-f]/[0-9a-f]{62}\\.(?:filez|dirtree|dirmeta|commit)|' +
  'deltas/[\\w+][\\w+]/[\\w+]{41}(?:-[\\w+]{43})?/(?:superblock|meta|[0-9]{1,9})';

/** What may be replaced at any time. */
export const MUTABLE_PATHS =
  'config|summary|summary\\.sig|refs/(?:heads|mirrors|remotes)/[^/.][^/]*(?:/[^/.][^/]*)*|' +
  'delta-indexes/[\\w+][\\w+]/[\\w+]{41}\\.index|' +
  'objects/[0-9a-f][0-9a-f]/[0-9a-f]{62}\\.(?:commitmeta|tombstone-commit)';

/** Nothing but reading. */
export const READING = 'if ($request_method !~ "^(?:GET|HEAD)$") { return 405; }';

/**
 * By whom a request comes: of a cache in front of this one, what that calls it, else its connection to us. Whoever has
 * the repository gives a connection the summary that fits the signature that it gave it before.
 */
export function connectionMap(name: string): string {
  return `# Which client's connection a request belongs to. The server gives a connection the summary that fits the
# signature that it gave it before, and cannot see through us whose request it is.
map $http_x_treeline_connection $${name}_connection {
  "" "$hostname/$pid/$connection";
  default $http_x_treeline_connection;
}`;
}
