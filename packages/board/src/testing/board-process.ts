/** `board-process.ts FOLDER IMAGE`: switches a board on and stays, for tests that kill it. */
import { openQemuBoard } from '../drive/qemu/qemu-board.ts';
import { QemuDrive } from '../drive/schema.ts';

const [folder = '', image = ''] = process.argv.slice(2);
process.env.BOARD_FOLDER = folder;
const drive = QemuDrive.parse({ kind: 'qemu', arch: 'x86_64', memory: '256M', cpus: 1 });
const board = await openQemuBoard({ name: 'bound', drive, folder, log: null });
await board.flash(image);
await board.powerOn();
process.stdout.write('on\n');
setInterval(() => {}, 60_000);
