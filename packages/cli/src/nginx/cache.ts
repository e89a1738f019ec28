import { connectionMap, IMMUTABLE_PATHS, MUTABLE_PATHS, quoted, READING } from './text.ts';

/** An nginx that keeps what it has fetched of a repository. */
export interface CacheOptions {
  /** The repository, or another such cache of it: `https://dl.example.org/repos/public`. */
  origin: URL;
  /** Folder of what is kept, and how much of it, as nginx writes sizes: `50g`. */
  cache: string;
  size: string;
  listen: string;
  names: readonly string[];
  tls: { certificate: string; key: string } | null;
  /** File for a line with the cache's verdict for each request; null for nginx's own log. */
  log: string | null;
  /** Certificates that the origin's is checked against. */
  authorities: string;
}

/** Bytes in which large objects are fetched and kept. */
const SLICE = '4m';

/**
 * The configuration of a caching mirror, for nginx's `http` block. Objects and deltas are kept as long as there is room;
 * what may change is asked for each time, so that a client of the mirror sees what one of the origin does.
 */
export function cacheConfiguration(options: CacheOptions): string {
  const { origin, tls, names } = options;
  const listen = tls ? `${options.listen} ssl http2` : options.listen;
  const base = origin.pathname.replace(/\/+$/, '');
  const secure = origin.protocol === 'https:';
  const port = origin.port || (secure ? '443' : '80');
  const certificate = tls
    ? `\n  ssl_certificate ${quoted(tls.certificate)};\n  ssl_certificate_key ${quoted(tls.key)};\n  ssl_session_cache shared:treeline_mirror_tls:4m;`
    : '';
  const toOrigin = secure
    ? `
  proxy_ssl_server_name on;
  proxy_ssl_name ${origin.hostname};
  proxy_ssl_verify on;
  proxy_ssl_verify_depth 4;
  proxy_ssl_trusted_certificate ${quoted(options.authorities)};`
    : '';
  const headers = `proxy_set_header Host ${origin.host};
    proxy_set_header Connection "";
    proxy_set_header Via "$server_protocol $hostname";
    proxy_set_header X-Treeline-Connection $treeline_mirror_connection;`;
  return `# A caching mirror of ${origin.href}, made by: treeline nginx cache
# It belongs into nginx's http block: /etc/nginx/conf.d/treeline-mirror.conf.

upstream treeline_origin {
  server ${origin.hostname}:${port};
  keepalive 32;
}

${connectionMap('treeline_mirror')}

proxy_cache_path ${quoted(options.cache)} levels=2:2 keys_zone=treeline_objects:64m max_size=${options.size} inactive=3650d use_temp_path=off;

log_format treeline_mirror '$time_iso8601 $status $upstream_cache_status $body_bytes_sent $request_method $request_uri';

server {
  listen ${listen};
  server_name ${names.length > 0 ? names.join(' ') : '_'};${certificate}
  server_tokens off;${options.log === null ? '' : `\n  access_log ${quoted(options.log)} treeline_mirror;`}

  proxy_http_version 1.1;${toOrigin}
  proxy_hide_header X-Cache-Status;
  add_header X-Cache-Status $upstream_cache_status;

  # Objects and deltas: their names say what is in them. Kept under the name alone, so that %2B and a plus are one; one
  # fetch for all who ask at once; what is kept is good when the origin is down. What the origin calls private, or was
  # asked for by somebody who said who they are, is not kept.
  location ~ "^${escaped(base)}/(?:${IMMUTABLE_PATHS})$" {
    ${READING}
    slice ${SLICE};
    proxy_pass ${origin.protocol}//treeline_origin;
    ${headers}
    proxy_set_header Range $slice_range;
    proxy_cache treeline_objects;
    proxy_cache_key $uri$slice_range;
    proxy_cache_valid 200 206 3650d;
    proxy_cache_bypass $http_authorization;
    proxy_no_cache $http_authorization;
    proxy_cache_lock on;
    proxy_cache_lock_age 30s;
    proxy_cache_lock_timeout 120s;
    proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
    proxy_cache_revalidate on;
  }

  # What may change: always from the origin, with the client's own ETag, so that it says 304 to whom it concerns.
  location ~ "^${escaped(base)}/(?:${MUTABLE_PATHS})$" {
    ${READING}
    proxy_pass ${origin.protocol}//treeline_origin;
    ${headers}
  }

  # A mirror of the repository and nothing else.
  location / {
    default_type text/plain;
    add_header Cache-Control no-store always;
    return 404 "There is no such file in this repository.\\n";
  }
}
`;
}

/** A text in a regular expression. */
function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
