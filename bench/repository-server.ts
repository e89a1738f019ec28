import { createServer } from 'node:http';
import { repositoryHandler } from '@treeline/ostree';

// `node bench/repository-server.ts REPOSITORY`: serves it on a free loopback port, says so on stdout, and ends
// with its parent's pipe. A process of its own, so that serving does not run on the puller's event loop.

const [repository = '.'] = process.argv.slice(2);
const handle = repositoryHandler(repository);
const server = createServer((request, response) => {
  handle(request, response, request.url ?? '/').catch((error: unknown) => {
    console.error(error);
    response.destroy();
  });
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(`http://127.0.0.1:${address.port}`);
});
process.stdin.on('end', () => process.exit(0)).resume();
