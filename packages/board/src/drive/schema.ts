import { z } from 'zod';

/** `30s`, `20m`, `1h` as milliseconds. */
const Duration = z
  .string()
  .regex(/^[1-9][0-9]{0,5}[smh]$/, 'a duration is a whole number and s, m or h, such as 30s or 20m')
  .transform(
    (text) => Number(text.slice(0, -1)) * { s: 1000, m: 60_000, h: 3_600_000 }[text.at(-1) as 's' | 'm' | 'h'],
  );

/** `512M`, `1G` as bytes. */
const Size = z
  .string()
  .regex(/^[1-9][0-9]{0,6}[MG]$/, 'a size is a whole number and M or G, such as 512M or 1G')
  .transform((text) => Number(text.slice(0, -1)) * { M: 1024 ** 2, G: 1024 ** 3 }[text.at(-1) as 'M' | 'G']);

/** A name that QEMU knows. No commas: an option of QEMU may name files of this machine. */
const QemuName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'expected a name as QEMU lists it');

/**
 * A board that QEMU plays, always emulated instruction by instruction: what runs is then the same on every machine. It
 * names nothing of the machine that it runs on, so that a board file of a repository can be trusted with it.
 */
export const QemuDrive = z.strictObject({
  kind: z.literal('qemu'),
  arch: z.enum(['x86_64', 'aarch64']),
  /** `qemu-system-ARCH -M help`. Default: q35, or virt. */
  machine: QemuName.optional(),
  /** `-cpu help`. Default: max, or cortex-a57. */
  cpu: QemuName.optional(),
  cpus: z.int().min(1).max(64).default(2),
  memory: Size.default(1024 ** 3),
  /** `ovmf` (UEFI, keeps its variables over boots) or `u-boot` (Debian's u-boot-qemu). Default by `arch`. */
  firmware: z.enum(['ovmf', 'u-boot']).optional(),
  /** A boot that has printed nothing at all by then is the board's trouble, not the system's. */
  silence: Duration.default(60_000),
});
export type QemuDrive = z.infer<typeof QemuDrive>;

const Command = z.string().min(1).max(4096);

/**
 * A board that commands switch: a relay, a serial port, a programmer. Commands are scripts for `sh -eu`; in them,
 * `{image}`, `{name}`, `{host}` and `{address}` stand for the path of the image, the board's name, and `host` and
 * `address` below, quoted for the shell. A command that ends with another exit status than 0 is the board's trouble.
 */
export const CommandDrive = z.strictObject({
  kind: z.literal('command'),
  'power-on': Command,
  'power-off': Command,
  /** Writes `{image}` to the board, which is off. */
  flash: Command,
  /** Runs as long as the board is in use: prints what the board prints, types what it reads. */
  console: Command,
  /** For the fault `network-loss`. */
  'network-off': Command.optional(),
  'network-on': Command.optional(),
  /** For the fault `full-disk`; `{bytes}` are to stay free. The board is off. */
  'fill-disk': Command.optional(),
  'free-disk': Command.optional(),
  /** Address of the runner's machine as the board reaches it. Default: the addresses that it has hold. */
  host: z.string().min(1).max(255).optional(),
  /** Address of the board. */
  address: z.string().min(1).max(255).optional(),
  /** Limit of `power-on`, `power-off` and the network's commands. */
  'switch-limit': Duration.default(60_000),
  'flash-limit': Duration.default(1_800_000),
  silence: Duration.default(120_000),
});
export type CommandDrive = z.infer<typeof CommandDrive>;

/**
 * A device of a LAVA lab. `job` is a LAVA job definition (YAML) in which `{image}` stands for the address that the lab
 * fetches the image from; it deploys and boots the image and keeps the device for as long as it is tried.
 */
export const LavaDrive = z.strictObject({
  kind: z.literal('lava'),
  /** Address of the LAVA server. */
  server: z.url({ protocol: /^https?$/ }),
  /** Environment variable of the runner that holds the token. */
  'token-from': z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
    .default('LAVA_TOKEN'),
  job: z.string().min(1).max(65_536),
  /** Copies `{image}` to where the lab fetches it, under `{name}`. A script for `sh -eu`. */
  upload: Command,
  /** Address of what `upload` put there. */
  'image-url': z.url({ protocol: /^https?$/ }),
  host: z.string().min(1).max(255).optional(),
  /** How long a job may wait for a device of the lab. */
  'queue-limit': Duration.default(3_600_000),
  'upload-limit': Duration.default(1_800_000),
  silence: Duration.default(600_000),
});
export type LavaDrive = z.infer<typeof LavaDrive>;

/** The key `drive` of a board file: how the board is switched, watched and written. */
export const Drive = z.discriminatedUnion('kind', [QemuDrive, CommandDrive, LavaDrive]);
export type Drive = z.infer<typeof Drive>;
