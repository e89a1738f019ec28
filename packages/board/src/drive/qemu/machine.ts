import { existsSync } from 'node:fs';
import { BoardError } from '../../errors.ts';
import type { QemuDrive } from '../schema.ts';

/** Files of a QEMU board, all in its own folder, which is QEMU's working folder: no path needs quoting. */
export const DISK = 'disk.img';
export const VARIABLES = 'firmware-variables.fd';

/** Where Debian's ovmf, qemu-efi-aarch64 and u-boot-qemu, and other distributions, put firmware. */
const FIRMWARE = {
  'x86_64 ovmf': [
    { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', variables: '/usr/share/OVMF/OVMF_VARS_4M.fd' },
    { code: '/usr/share/edk2/x64/OVMF_CODE.4m.fd', variables: '/usr/share/edk2/x64/OVMF_VARS.4m.fd' },
    { code: '/usr/share/edk2/ovmf/OVMF_CODE.fd', variables: '/usr/share/edk2/ovmf/OVMF_VARS.fd' },
  ],
  'aarch64 ovmf': [{ code: '/usr/share/AAVMF/AAVMF_CODE.fd', variables: '/usr/share/AAVMF/AAVMF_VARS.fd' }],
  'aarch64 u-boot': [{ code: '/usr/lib/u-boot/qemu_arm64/u-boot.bin', variables: null }],
} as const;

const PACKAGES: Record<string, string> = {
  'x86_64 ovmf': 'ovmf',
  'aarch64 ovmf': 'qemu-efi-aarch64',
  'aarch64 u-boot': 'u-boot-qemu',
};

export type Firmware = { code: string; variables: string | null };

/** The firmware of a board on this machine. @throws BoardError `tool-missing`, `invalid` */
export function firmwareOf(drive: QemuDrive): Firmware {
  const kind = drive.firmware ?? (drive.arch === 'x86_64' ? 'ovmf' : 'u-boot');
  const key = `${drive.arch} ${kind}`;
  const known: readonly Firmware[] | undefined = FIRMWARE[key as keyof typeof FIRMWARE];
  if (known === undefined) {
    throw new BoardError('invalid', `QEMU has no ${kind} for ${drive.arch}`, { hint: 'Use firmware: ovmf.' });
  }
  const found = known.find(({ code, variables }) => existsSync(code) && (variables === null || existsSync(variables)));
  if (found) return found;
  throw new BoardError('tool-missing', `the firmware of the board is not installed: ${known[0]?.code}`, {
    hint: `On Debian: apt-get install ${PACKAGES[key]}`,
  });
}

export function qemuProgram(drive: QemuDrive): string {
  return `qemu-system-${drive.arch}`;
}

/** Address at which a board in QEMU reaches what `forward` names, and nothing else. */
export const FORWARD_ADDRESS = '10.0.2.4';

/** Address of the machine that runs QEMU in QEMU's own network. */
export const HOST_ADDRESS = '10.0.2.2';

/** Descriptors that QEMU inherits: the serial line, and its monitor. */
export const SERIAL_FD = 3;
export const MONITOR_FD = 4;

/**
 * The command line of a board. Emulation is said explicitly: /dev/kvm may be there and still not boot a kernel. A reset
 * ends the process: warm resets of an emulated x86 machine get slower and can hang, so each boot is a new process.
 */
export function qemuArguments(
  drive: QemuDrive,
  o: { firmware: Firmware; mac: string; networkUp: boolean; network: string },
): string[] {
  const isX86 = drive.arch === 'x86_64';
  const { code, variables } = o.firmware;
  const firmware =
    variables === null
      ? ['-bios', code]
      : [
          ...['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${code}`],
          ...['-drive', `if=pflash,unit=1,format=raw,file=${VARIABLES}`],
        ];
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-accel', 'tcg,thread=multi'],
    ...['-machine', drive.machine ?? (isX86 ? 'q35' : 'virt')],
    ...['-cpu', drive.cpu ?? (isX86 ? 'max' : 'cortex-a57')],
    ...['-smp', String(drive.cpus), '-m', `${Math.round(drive.memory / 1024 ** 2)}M`],
    ...firmware,
    // What reaches QEMU is kept by this machine whatever happens to QEMU; syncing its disk would only cost time.
    ...['-drive', `if=none,id=disk,format=raw,cache=unsafe,discard=unmap,file=${DISK}`],
    ...['-device', 'virtio-blk-pci,drive=disk,bootindex=0'],
    ...['-netdev', o.network],
    // Without its ROM, nothing tries to boot from the network.
    ...['-device', `virtio-net-pci,id=nic,netdev=net,romfile=,mac=${o.mac}`],
    ...['-device', 'virtio-rng-pci'],
    ...(isX86 ? ['-device', 'i6300esb', '-action', 'watchdog=reset'] : []),
    ...['-chardev', `socket,id=serial,fd=${SERIAL_FD}`, '-serial', 'chardev:serial'],
    ...['-chardev', `socket,id=monitor,fd=${MONITOR_FD}`, '-mon', 'chardev=monitor,mode=control'],
  ];
}
