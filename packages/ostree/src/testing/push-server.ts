/**
 * Program: receives pushes. Arguments: the repository, a port, and (optional) after how many staged bytes to end itself as
 * kill -9 does. Says on stdout where it listens.
 */
import { createServer } from 'node:http';
import { pushHandler } from '../push/handler.ts';
import { PushReceiver } from '../push/receiver.ts';
import { openRepo } from '../repo/repo.ts';

const [path = '', port = '0', killAt] = process.argv.slice(2);
const receiver = await PushReceiver.open(await openRepo(path));
const handle = pushHandler(receiver, { caller: () => ({ name: 'somebody', demand: () => {} }) });
const server = createServer((request, response) => void handle(request, response, (request.url ?? '/').slice(1)));
server.listen(Number(port), '127.0.0.1', () => {
  const address = server.address();
  console.log(`http://127.0.0.1:${typeof address === 'object' ? address?.port : port}/`);
});
if (killAt !== undefined) {
  setInterval(() => {
    if (receiver.stagedBytes >= Number(killAt)) process.kill(process.pid, 'SIGKILL');
  }, 1);
}
