import type { ServerEvent } from '../connection/events.ts';
import { paint } from './colour.ts';
import { deviceStyle } from './device.ts';
import { clockTime } from './duration.ts';
import { stateStyle } from './run.ts';
import { cellWidth, oneLine, shorten } from './text.ts';
import { shortId } from './words.ts';

type Data = Record<string, unknown>;

/**
 * One event as a line for people, cut to `width`: time, what it is about, what happened to it, and details. null for
 * what only programs care about. Types and data are the server's; of a type that is not known here all is shown.
 */
export function formatEvent(event: ServerEvent, options: { now: number; width: number }): string | null {
  const { data: envelope } = event;
  const outer = isRecord(envelope) ? envelope : {};
  // A full event carries its time and has its data one level down.
  const data = isRecord(outer.data) ? outer.data : outer;
  const at = typeof outer.at === 'string' ? Date.parse(outer.at) : options.now;
  const line = describe(event.type, data);
  if (!line) return null;
  const [subject, rawState, details, style] = line;
  const state = shorten(oneLine(rawState), 20);
  const start = `${clockTime(at)}  ${oneLine(subject).padEnd(24)} `;
  const rest = details ? `  ${oneLine(details)}` : '';
  const room = Math.max(0, options.width - cellWidth(start) - cellWidth(state));
  const time = paint('dim', start.slice(0, 8));
  return `${time}${start.slice(8)}${paint(style ?? stateStyle(state), state)}${shorten(rest, room)}`.trimEnd();
}

type Line = [subject: string, state: string, details: string, style?: ReturnType<typeof stateStyle>];

function describe(type: string, data: Data): Line | null {
  const text = (name: string) => (typeof data[name] === 'string' ? data[name] : '');
  const number = text('run').replace(/^run-/, '') || (typeof data.number === 'number' ? String(data.number) : '');
  const run = number ? `run ${number}` : '';
  const job = text('job');
  switch (type) {
    case 'project.added':
      return [text('project'), 'added', `${text('branch')} of ${text('url')}`, 'cyan'];
    case 'project.removed':
      return [text('project'), 'removed', '', 'yellow'];
    case 'project.pushed':
      return [text('project'), 'pushed', `${shortId(text('revision'))} ${text('subject')}`, 'cyan'];
    case 'project.failed':
      return [text('project'), 'failed', text('message'), 'red'];
    case 'run.created':
      return [run, 'started', text('reason'), 'bold'];
    case 'run.finished':
      return [run, text('state'), text('message') || messageOf(data.error)];
    case 'job.started':
      return [job, 'running', run];
    case 'job.reused':
      return [job, 'reused', run];
    case 'job.finished':
      return [job, text('state'), [run, messageOf(data.failure)].filter(Boolean).join(': ')];
    case 'job.skipped':
      return [job, 'skipped', `${run}: ${text('because')} did not pass`];
    case 'job.requeued':
      return [job, 'queued', `${run} again: ${text('why')}`, 'yellow'];
    case 'job.queued': {
      // Of a job that was never made before there is nothing to explain: that it starts says enough.
      const why = Array.isArray(data.why) ? data.why.filter((reason) => typeof reason === 'string') : [];
      return why.length > 0 ? [job, 'queued', `${run}: ${why.join('; ')}`] : null;
    }
    case 'release.publishing':
      // What follows a moment later says it all.
      return null;
    case 'release.published':
    case 'release.abandoned':
    case 'release.failed':
      return [
        channelOf(text),
        type.slice(8),
        [shortId(text('commit')), run, text('message')].filter(Boolean).join(', '),
      ];
    case 'release.progress':
      return [text('release').replace('-', ' '), 'publishing', stepOf(data), 'blue'];
    case 'release.declared': {
      const why = `${text('artifact')} is declared releasable at ${shortId(text('revision'))}: ${text('because')}`;
      return [channelOf(text), 'declared', why, 'yellow'];
    }
    case 'label.set':
    case 'label.removed': {
      const subject = text('name') || shortId(text('commit'));
      const put = type === 'label.set' ? 'labelled' : 'label removed';
      return [subject, put, `${text('label')}: ${text('reason')}`, 'yellow'];
    }
    case 'repository.added':
      return [text('repository'), 'made', `${text('access')}: ${text('why')}`, 'cyan'];
    case 'repository.changed':
      return [text('repository'), 'changed', Object.keys(data).slice(1).join(', '), 'cyan'];
    case 'repository.removed':
      return [text('repository'), 'removed', '', 'yellow'];
    case 'device.enrolled':
      return [text('device'), 'enrolled', text('channel'), 'cyan'];
    case 'device.state':
      return [text('device'), text('state'), deviceDetails(text), deviceStyle(text('state'))];
    case 'device.pointed':
      return [text('device'), 'pointed', `${shortId(text('commit'))} at ${text('url')} by ${text('by')}`, 'yellow'];
    case 'device.back':
      return [text('device'), 'back', `to its channel by ${text('by')}`, 'cyan'];
    default:
      return unknown(type, data);
  }
}

function stepOf({ step, done, total }: Data): string {
  const counted = typeof done === 'number' && typeof total === 'number' ? ` ${done}/${total}` : '';
  return typeof step === 'string' ? `${step}${counted}` : '';
}

function channelOf(text: (name: string) => string): string {
  return `${text('repository')}:${text('channel')}`;
}

function deviceDetails(text: (name: string) => string): string {
  const from = text('from') ? `from ${shortId(text('from'))}` : '';
  return [shortId(text('release')), from, text('reason')].filter(Boolean).join(', ');
}

/** An event of a newer server: its subject by the usual names, and whatever else is text or a number. */
function unknown(type: string, data: Data): Line {
  const [kind = '', what = ''] = type.split('.', 2);
  const subject = ['job', 'device', 'project'].find((name) => typeof data[name] === 'string');
  const details = Object.entries(data)
    .filter(([name, value]) => name !== subject && (typeof value === 'string' || typeof value === 'number'))
    .map(([, value]) => String(value));
  return [subject ? oneLine(data[subject] as string) : kind, what, details.join(', '), 'dim'];
}

function messageOf(value: unknown): string {
  return isRecord(value) && typeof value.message === 'string' ? value.message : '';
}

function isRecord(value: unknown): value is Data {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
