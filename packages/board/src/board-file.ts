import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMap, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { Drive } from './drive/schema.ts';
import { BoardError } from './errors.ts';

/** The boards that Treeline brings along. */
const OWN_BOARDS = fileURLToPath(new URL('../boards', import.meta.url));

const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** `64M`, `2G`: bytes by powers of 1,024. A partition begins and ends on a MiB. */
const Size = z
  .string()
  .regex(/^\d+[KMGT]$/, 'a size is a number with K, M, G or T, such as 2G')
  .transform((text) => Number(text.slice(0, -1)) * (UNITS[text.slice(-1)] ?? 1))
  .refine((bytes) => bytes > 0 && bytes % 2 ** 20 === 0, 'a size must be whole MiB');

const MIN_ESP = 34 * 2 ** 20;

/** mke2fs makes smaller ones without a journal, and says so only in passing. */
const MIN_ROOT = 64 * 2 ** 20;

/** A path on the FAT partition: no link, no way out. */
const FatPath = z
  .string()
  .regex(/^[A-Za-z0-9_.\-+~/]+$/, 'letters, digits and ._-+~ only: this is a FAT file system')
  .refine((path) => !path.startsWith('/') && !path.split('/').includes('..'), 'must be relative, without ..');

/**
 * A file or folder of the system that the image is made of (`system`), or of the machine that makes the image (`host`).
 * Of that only what packages install: a board file may come with a repository that is not trusted with more.
 */
const Source = {
  from: z
    .string()
    .regex(/^\/[^\0]+$/, 'must be an absolute path')
    .refine((path) => !path.split('/').includes('..'), 'must be without ..'),
  in: z.enum(['system', 'host']).default('system'),
  /** The Debian package that has it, for who misses it. */
  package: z.string().optional(),
};
const ofPackages = (file: { from: string; in: 'system' | 'host' }) =>
  file.in === 'system' || /^\/usr\/(lib|share)\//.test(file.from);
const OF_PACKAGES = 'of the host, only what is below /usr/lib and /usr/share can be taken';

const CopiedFile = z.strictObject({ ...Source, to: FatPath }).refine(ofPackages, OF_PACKAGES);

const WrittenFile = z.strictObject({ text: z.string(), to: FatPath });

const RawFile = z
  .strictObject({
    ...Source,
    /** Byte offset on the disk. */
    at: z
      .string()
      .regex(/^\d+[KM]?$/, 'an offset is a number of bytes, or one with K or M')
      .transform((text) => Number.parseInt(text, 10) * (UNITS[text.slice(-1)] ?? 1)),
  })
  .refine(ofPackages, OF_PACKAGES);

export const BoardFile = z.strictObject({
  /** Letters, digits, dashes: what runners offer and pipelines ask for. */
  name: z.string().regex(/^[a-z0-9][a-z0-9_.-]*$/, 'a name has small letters, digits and ._-'),
  description: z.string().default(''),
  architecture: z.enum(['x86_64', 'aarch64']),
  boot: z.strictObject({
    loader: z.enum(['grub', 'uboot', 'systemd-boot']),
    /** Besides those that every image has: `root=LABEL=root rw panic=5 rd.shell=0 rd.emergency=reboot`. */
    'kernel-arguments': z.array(z.string().regex(/^\S+$/, 'one argument each, without blanks')).default([]),
    /**
     * For U-Boot: `firmware`, the tree that U-Boot itself was given; or a file below the kernel's `dtb` folder, such as
     * `broadcom/bcm2711-rpi-4-b.dtb`.
     */
    'device-tree': z.string().default('firmware'),
  }),
  image: z
    .strictObject({
      /** Of the whole disk. What the system does not need is room for updates, which is about twice its size. */
      size: Size,
      esp: Size.refine((bytes) => bytes >= MIN_ESP, 'a FAT32 file system has 34M at least').default(64 * 2 ** 20),
      /** Where the first partition begins: later than 1M where a loader lies raw before it. */
      start: Size.default(2 ** 20),
      /** What else goes onto the FAT partition: firmware, its settings. */
      files: z.array(z.union([CopiedFile, WrittenFile])).default([]),
      /** What is written at a fixed place of the disk. */
      raw: z.array(RawFile).default([]),
    })
    // A size that was refused is no number here.
    .refine(({ size, esp, start }) => typeof size !== 'number' || !(size - esp - start - 2 ** 20 < MIN_ROOT), {
      message: 'the disk has to be 64M larger than what comes before the root file system',
      path: ['size'],
    }),
  /** How a lab switches it on, flashes it and reads its console. */
  drive: Drive.optional(),
});
export type BoardFile = z.infer<typeof BoardFile>;

/**
 * Reads a board file.
 *
 * @param board the name of one that Treeline brings along, or the path of another
 * @throws BoardError `not-found`, or `invalid` with line and column of everything that is wrong
 */
export async function readBoardFile(board: string): Promise<BoardFile> {
  const isPath = board.includes('/') || /\.ya?ml$/.test(board);
  const path = isPath ? board : join(OWN_BOARDS, `${board}.yaml`);
  const text = await readFile(path, 'utf8').catch(async (cause: unknown) => {
    const hint = `There are: ${(await ownBoards()).join(', ')}; or the path of a board file. docs/board.md says how to write one.`;
    throw new BoardError('not-found', `there is no board ${board}`, { hint, cause });
  });
  return parseBoardFile(text, path);
}

/** Names of the boards that Treeline brings along. */
export async function ownBoards(): Promise<string[]> {
  const names = await readdir(OWN_BOARDS);
  return names.filter((name) => name.endsWith('.yaml')).map((name) => name.slice(0, -'.yaml'.length));
}

/** @param path for the errors */
export function parseBoardFile(text: string, path: string): BoardFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const complain = (problems: string[], cause?: unknown) =>
    new BoardError('invalid', problems.map((problem) => `${path}:${problem}`).join('\n'), {
      hint: 'docs/board.md says what a board file has.',
      cause,
    });
  if (document.errors.length > 0) {
    throw complain(
      document.errors.map((error) => {
        const { line, col } = lines.linePos(error.pos[0]);
        return `${line}:${col}: ${error.message.split('\n')[0]}`;
      }),
    );
  }
  const parsed = BoardFile.safeParse(document.toJS());
  if (parsed.success) return parsed.data;
  throw complain(
    parsed.error.issues.flatMap((issue) => {
      const path = issue.path.filter((part) => typeof part !== 'symbol');
      const keys = issue.code === 'unrecognized_keys' ? issue.keys : [undefined];
      return keys.map((key) => {
        const full = key === undefined ? path : [...path, key];
        const isWhole = path.length === 0 && issue.code === 'invalid_type';
        const message = isWhole ? 'expected keys such as name: my-board' : issue.message;
        const what = key === undefined ? message : 'there is no such key';
        return `${position(document, full, lines)}: ${full.join('.') || 'the file'}: ${what}`;
      });
    }),
    parsed.error,
  );
}

/** Line and column of the nearest thing that is there, since what is missing has no place. */
function position(
  document: ReturnType<typeof parseDocument>,
  path: readonly PropertyKey[],
  lines: LineCounter,
): string {
  for (let length = path.length; length >= 0; length--) {
    const node = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    const parent = length > 0 ? document.getIn(path.slice(0, length - 1), true) : undefined;
    const holder = length === 1 ? document.contents : parent;
    const key = isMap(holder)
      ? holder.items.find((item) => String((item.key as { value?: unknown }).value) === String(path[length - 1]))?.key
      : undefined;
    const range = ((key ?? node) as { range?: [number, number, number] } | null | undefined)?.range;
    if (range) {
      const { line, col } = lines.linePos(range[0]);
      return `${line}:${col}`;
    }
  }
  return '1:1';
}
