/** Joins standard input and output with a TCP port, `relay.ts HOST PORT`: QEMU starts one for each connection of a guest. */
import { connect } from 'node:net';

const [host = '127.0.0.1', port = '0'] = process.argv.slice(2);
const socket = connect({ host, port: Number(port), allowHalfOpen: true });
process.stdin.pipe(socket);
socket.pipe(process.stdout);
// A guest whose connection is refused sees it closed; there is nobody else to tell.
socket.on('error', () => process.exit(1));
socket.on('close', () => process.exit(0));
process.stdout.on('error', () => process.exit(0));
