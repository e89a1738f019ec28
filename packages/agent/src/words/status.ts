import type { AgentStatus } from '../cycle/status.ts';
import { counted, inOneLine, shortCommit, timeInWords } from './amounts.ts';
import { planInWords, stateInWords, transferInWords } from './progress.ts';

/** A labelled line about a board. */
export interface Field {
  label: string;
  value: string;
  /** How it is meant, where it is more than a fact. */
  tone?: AgentStatus['state']['kind'] | 'warn';
}

/** What a board knows of itself, for people. */
export function statusInWords(status: AgentStatus, now: number): Field[] {
  const { identity, state, running, transfer, pointed } = status;
  const fields: Field[] = [
    { label: 'device', value: inOneLine(identity.id) },
    { label: 'state', value: `${state.kind}  ${stateInWords(state)}`.trimEnd(), tone: state.kind },
    { label: 'runs', value: running === null ? 'nothing' : shortCommit(running.commit) },
    { label: 'can boot', value: status.deployments.map(({ commit }) => shortCommit(commit)).join(', ') || 'nothing' },
    { label: 'follows', value: inOneLine(`${identity.repository}:${identity.channel} at ${identity.gateway}`) },
    { label: 'last look', value: status.checkedAt === null ? 'never' : `${timeInWords(now - status.checkedAt)} ago` },
  ];
  if (running !== null && pointed?.release === running.commit) {
    fields.push({ label: 'fetched from', value: inOneLine(pointed.url) });
  }
  if (status.pinned !== null) {
    fields.push({ label: 'pinned', value: inOneLine(status.pinned.why), tone: 'warn' });
  }
  if (status.bootLoader !== 'none') fields.push({ label: 'boot loader', value: status.bootLoader });
  if (status.lastError !== null) fields.push({ label: 'problem', value: inOneLine(status.lastError), tone: 'warn' });
  const { planned } = status;
  if (planned !== null && planned.release !== running?.commit) {
    fields.push({ label: 'to fetch', value: `${shortCommit(planned.release)}  ${planInWords(planned)}` });
  }
  if (transfer !== null) fields.push({ label: 'last update', value: transferInWords(transfer) });
  for (const bad of status.bad) {
    fields.push({ label: 'never again', value: `${shortCommit(bad.release)}  ${inOneLine(bad.why)}` });
  }
  if (status.unsent > 0) fields.push({ label: 'unsent', value: counted(status.unsent, 'report') });
  return fields;
}
