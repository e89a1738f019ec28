/** What hardware needs: system trees that boot, boot loaders that fall back, disk images, boards in a lab. */
export { BoardError, type BoardErrorCode } from './errors.ts';
