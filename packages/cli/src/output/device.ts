import type { Device, DeviceDetail, DeviceEvent, DevicePointer, Release } from '@treeline/server';
import { formatBytes } from './bytes.ts';
import type { Style } from './colour.ts';
import { paint } from './colour.ts';
import { formatAge, formatDuration, nearTime } from './duration.ts';
import { fields } from './fields.ts';
import { sourceTable } from './provenance.ts';
import { type Cell, formatTable } from './table.ts';
import { oneLine } from './text.ts';
import { count, shortId } from './words.ts';

const styles: Record<string, Style> = {
  good: 'green',
  idle: 'green',
  checking: 'blue',
  downloading: 'blue',
  staged: 'blue',
  rebooting: 'blue',
  verifying: 'blue',
  blocked: 'yellow',
  pending: 'yellow',
  silent: 'yellow',
  failed: 'red',
  'rolled-back': 'red',
};

/** The style in which a device's state is shown. */
export function deviceStyle(state: string): Style {
  return styles[state] ?? 'dim';
}

type Context = { releases: Release[]; now: number };

/** What a device is doing, in one word; `pending` has not been let in, `silent` has not been heard of. */
function stateOf(device: Device): string {
  if (!device.accepted) return 'pending';
  if (device.silentSince) return 'silent';
  return device.state ?? 'new';
}

/** Why it is in that state, or what it should run instead. */
function reasonOf(device: Device, { releases, now }: Context): string {
  if (!device.accepted) return `let it in: treeline devices set ${device.id} --accept`;
  const parts: string[] = [];
  if (device.pointer) parts.push(pointerText(device.pointer, device, now));
  if (device.rolledBackFrom) parts.push(`came back from ${releaseName(device.rolledBackFrom, releases)}`);
  if (device.reason) parts.push(device.reason);
  if (parts.length === 0 && device.target && device.target !== device.current) {
    parts.push(`should run ${releaseName(device.target, releases)}`);
  }
  return parts.join(': ');
}

/** Where a device is pointed, by whom, for how long, and whether it is there already. */
function pointerText({ url, ref, commit, by, expiresAt }: DevicePointer, device: Device, now: number): string {
  const what = [ref, shortId(commit)].filter(Boolean).join(' ');
  const failed = device.badReleases.some((bad) => bad.commit === commit);
  const done = failed ? ', where it failed' : device.current === commit ? '' : ', not there yet';
  return `pointed at ${what} of ${url} until ${nearTime(Date.parse(expiresAt), now)} by ${by}${done}`;
}

/** A commit as `7 1a2b3c4d5e` if it is release 7, else its first characters. */
function releaseName(commit: string, releases: Release[]): string {
  const release = releases.find((candidate) => candidate.commit === commit && candidate.state !== 'abandoned');
  return release ? `#${release.number} ${shortId(commit)}` : shortId(commit);
}

/** Devices, a line each. */
export function deviceTable(devices: Device[], { releases, now }: Context): string {
  const rows = devices.map((device): Cell[] => {
    const state = stateOf(device);
    return [
      device.id,
      { text: state, style: deviceStyle(state) },
      device.current ? releaseName(device.current, releases) : '-',
      device.channel ?? '-',
      device.lastSeen ? formatAge(Date.parse(device.lastSeen), now) : 'never',
      { text: reasonOf(device, { releases, now }), below: true },
    ];
  });
  return formatTable(
    [
      { header: 'device', shrink: true },
      { header: 'state' },
      { header: 'runs' },
      { header: 'channel', shrink: true },
      { header: 'seen' },
      { header: 'why', shrink: true },
    ],
    rows,
  );
}

/** For each commit that devices run: who runs it, and the git revisions it was made from. */
export function formatOrigins(devices: Device[], releases: Release[]): string {
  const running = Map.groupBy(
    devices.filter((device) => device.current && device.provenance),
    (device) => device.current!,
  );
  return [...running]
    .map(([commit, group]) => {
      const names = group.map((device) => oneLine(device.id));
      const shown = names.length > 6 ? [...names.slice(0, 5), `${names.length - 5} more`] : names;
      const title = `${paint('bold', releaseName(commit, releases))} on ${shown.join(', ')} was made from`;
      return `${title}\n${sourceTable(group[0]!.provenance!.sources, { indent: '  ' })}`;
    })
    .join('\n\n');
}

/** One device with its last reports. */
export function formatDevice(device: DeviceDetail, context: Context & { events: number }): string {
  const { releases, now } = context;
  const state = stateOf(device);
  const reason = reasonOf(device, { releases, now });
  const named = (commit: string | null) => (commit ? oneLine(releaseName(commit, releases)) : '-');
  const pairs: Array<[string, string]> = [
    ['device', paint('bold', oneLine(device.id))],
    ['state', paint(deviceStyle(state), state) + (reason ? `  ${oneLine(reason)}` : '')],
    ['runs', named(device.current)],
    ['should run', named(device.target)],
    ['follows', device.channel ? oneLine(`${device.repository}:${device.channel}`) : 'what it asks for'],
    ['seen', device.lastSeen ? formatAge(Date.parse(device.lastSeen), now) : 'never'],
  ];
  if (device.fetchedFrom && device.release === device.current) {
    pairs.push(['fetched from', oneLine(device.fetchedFrom)]);
  }
  if (device.address) pairs.push(['address', oneLine(device.address)]);
  if (device.hardwareId) pairs.push(['hardware', oneLine(device.hardwareId)]);
  const { download, bootLoader, clockBehind, settings, pinned } = device.details;
  if (download && device.release && device.release !== device.current) {
    const how = download.delta ? 'a static delta' : count(download.objects, 'object');
    pairs.push(['fetches', `${formatBytes(download.bytes)} in ${how} for ${named(device.release)}`]);
  }
  if (pinned !== undefined) pairs.push(['pinned', paint('yellow', oneLine(pinned))]);
  if (bootLoader !== undefined) pairs.push(['boot loader', oneLine(bootLoader)]);
  if (clockBehind !== undefined) {
    const off = formatDuration(Math.abs(clockBehind) * 1000);
    pairs.push(['clock', paint('yellow', `${off} ${clockBehind > 0 ? 'behind' : 'ahead'}`)]);
  }
  for (const problem of settings ?? []) pairs.push(['settings', paint('yellow', oneLine(problem))]);
  for (const bad of device.badReleases) {
    pairs.push(['failed here', `${named(bad.commit)}  ${oneLine(bad.reason ?? '')}`]);
  }
  const parts = [fields(pairs)];
  if (device.provenance) parts.push(sourceTable(device.provenance.sources));
  if (device.events.length > 0) parts.push(eventTable(device.events.slice(0, context.events), now));
  return parts.join('\n\n');
}

function eventTable(events: DeviceEvent[], now: number): string {
  const rows = events.map((event): Cell[] => [
    formatAge(Date.parse(event.receivedAt), now),
    event.success === false ? { text: event.type, style: 'red' } : event.type,
    event.target && /^[0-9a-f]{64}$/.test(event.target) ? shortId(event.target) : (event.target ?? ''),
    event.details ?? '',
  ]);
  return formatTable(
    [{ header: 'when' }, { header: 'report' }, { header: 'target', shrink: true }, { header: 'details', shrink: true }],
    rows,
  );
}
