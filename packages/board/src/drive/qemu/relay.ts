/** Joins standard input and output with a TCP port, `relay.ts HOST PORT`: QEMU starts one for each connection of a guest. */
import { connect } from 'node:net';

const [host = '127.0.0.1', port = '0'] = process.argv.slice(2);
const socket = connect({ host, port: Number(port), allowHalfOpen: true });
process.stdin.pipe(socket);
socket.pipe(process.stdout, { end: false });
// Pipes are written at once on Linux: what came before the end is with QEMU. A refused connection is a closed one.
socket.on('end', () => process.exit(0));
socket.on('error', () => process.exit(1));
process.stdout.on('error', () => process.exit(0));
