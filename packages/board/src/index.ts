/** What hardware needs: system trees that boot, boot loaders that fall back, disk images, boards in a lab. */
export { BoardFile, ownBoards, parseBoardFile, readBoardFile } from './board-file.ts';
export { BOOT_FACTS, type BootFacts, bootLayerFiles, writeBootLayers } from './boot/layer.ts';
export { BOOT_TRIES, ESP_LABEL, LOADERS, type Loader, ROOT_LABEL } from './boot/loader.ts';
export type { Board, BoardOptions, Fault } from './drive/board.ts';
export { type Console, lastLines, type Mark, type WaitOptions } from './drive/console.ts';
export { attachConsole, consoleFolder, listConsoles, serveConsole } from './drive/console-socket.ts';
export { type OpenBoardOptions, openBoard } from './drive/open-board.ts';
export { FORWARD_ADDRESS, HOST_ADDRESS } from './drive/qemu/machine.ts';
export type { QemuNetwork } from './drive/qemu/network.ts';
export { canPlay, openQemuBoard, type QemuBoardOptions } from './drive/qemu/qemu-board.ts';
export { CommandDrive, Drive, LavaDrive, QemuDrive } from './drive/schema.ts';
export { BoardError, type BoardErrorCode } from './errors.ts';
export { type ImageRemote, STATEROOT } from './image/sysroot.ts';
export { type ImageOptions, type ImageStep, type WrittenImage, writeImage } from './image/write-image.ts';
export { type Ostreeified, type OstreeifyOptions, type OstreeifyStep, ostreeify } from './system/ostreeify.ts';
export { buildToolsLayer } from './tools/tools-layer.ts';
