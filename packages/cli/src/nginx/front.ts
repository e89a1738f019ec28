import { connectionMap, IMMUTABLE_PATHS, MUTABLE_PATHS, quoted, READING } from './text.ts';

/** An nginx in front of a Treeline server. */
export interface FrontOptions {
  /** The server, `http://127.0.0.1:8420`. */
  upstream: URL;
  /** Folder of the published repositories, as nginx sees it. */
  repos: string;
  /** What it listens on, as nginx writes it: `443`, `127.0.0.1:8080`. */
  listen: string;
  /** Names that it answers to. Default: any. */
  names: readonly string[];
  /** Files of the certificate and its key; null for plain HTTP. */
  tls: { certificate: string; key: string } | null;
  /** Folder for what it remembers of who may read which repository. */
  state: string;
}

const REPOSITORY = '(?<treeline_repository>[A-Za-z0-9][A-Za-z0-9._-]{0,62})';

/**
 * The configuration of an nginx in front of a Treeline server, for its `http` block. Objects and deltas come from the
 * folder without Treeline; who may read a repository is Treeline's to say, and so is everything that may change.
 */
export function frontConfiguration(options: FrontOptions): string {
  const { upstream, repos, tls, names, state } = options;
  const listen = tls ? `${options.listen} ssl http2` : options.listen;
  const certificate = tls
    ? `\n  ssl_certificate ${quoted(tls.certificate)};\n  ssl_certificate_key ${quoted(tls.key)};\n  ssl_session_cache shared:treeline_tls:4m;`
    : '';
  return `# nginx in front of Treeline, made by: treeline nginx front
# It belongs into nginx's http block: /etc/nginx/conf.d/treeline.conf. Treeline has to be told that it is there:
# trustedProxies, so that it knows where requests come from.

upstream treeline_server {
  server ${upstream.host}${upstream.port ? '' : ':80'};
  keepalive 32;
}

${connectionMap('treeline')}

# Whether anybody may read a repository, for ten seconds. Nothing is remembered of requests that say who they are.
proxy_cache_path ${quoted(state)} levels=1 keys_zone=treeline_access:1m max_size=16m inactive=10m use_temp_path=off;

server {
  listen ${listen};
  server_name ${names.length > 0 ? names.join(' ') : '_'};${certificate}
  server_tokens off;
  default_type application/octet-stream;

  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  proxy_set_header Connection "";
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Treeline-Connection $treeline_connection;

  # Objects and deltas: from the folder. Their names say what is in them, so that they may be kept for ever. A plus in
  # the name of a delta may come as it is or as %2B.
  location ~ "^/repos/${REPOSITORY}/(?<treeline_path>${IMMUTABLE_PATHS})$" {
    ${READING}
    auth_request /_treeline/access;
    auth_request_set $treeline_cache $upstream_http_x_treeline_cache;
    alias ${quoted(`${repos}/$treeline_repository/$treeline_path`)};
    add_header Cache-Control "$treeline_cache, max-age=31536000, immutable";
    error_page 404 = @treeline_none;
    etag on;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=20000 inactive=60s;
    open_file_cache_valid 60s;
    open_file_cache_errors off;
  }

  # What may change: from Treeline, with its ETags and 304s; from the folder while Treeline is restarted.
  location ~ "^/repos/${REPOSITORY}/(?<treeline_path>${MUTABLE_PATHS})$" {
    ${READING}
    auth_request /_treeline/access;
    auth_request_set $treeline_cache $upstream_http_x_treeline_cache;
    proxy_pass http://treeline_server;
    proxy_connect_timeout 5s;
    error_page 502 504 = /_treeline/folder/$treeline_repository/$treeline_path;
  }

  location /_treeline/folder/ {
    internal;
    alias ${quoted(`${repos}/`)};
    add_header Cache-Control "$treeline_cache, no-cache";
    etag on;
    error_page 404 = @treeline_none;
  }

  location = /_treeline/access {
    internal;
    proxy_pass http://treeline_server/repos/$treeline_repository/.access;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
    proxy_set_header Range "";
    proxy_set_header If-None-Match "";
    proxy_set_header If-Modified-Since "";
    # These are not inherited where one is set.
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_cache treeline_access;
    proxy_cache_key $treeline_repository;
    proxy_cache_valid 204 10s;
    proxy_cache_bypass $http_authorization;
    proxy_no_cache $http_authorization;
    proxy_cache_lock on;
    proxy_cache_use_stale error timeout;
  }

  location @treeline_none {
    internal;
    default_type text/plain;
    add_header Cache-Control no-store always;
    return 404 "There is no such file in this repository.\\n";
  }

  # The API, pushes and everything else. Events come as they happen, and uploads are as large as Treeline lets them be.
  location / {
    proxy_pass http://treeline_server;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
    client_max_body_size 0;
  }
}
`;
}
