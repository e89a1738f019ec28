import type { Look } from '../cycle/by-hand.ts';
import { inOneLine, shortCommit } from './amounts.ts';
import { planInWords } from './progress.ts';
import type { Field } from './status.ts';

/** What a look at the server found, for people. */
export function lookInWords({ booted, offered, planned, held, told }: Look): Field[] {
  const fields: Field[] = [{ label: 'runs', value: booted === null ? 'nothing' : shortCommit(booted) }];
  if (offered === null) return [...fields, { label: 'offered', value: 'nothing' }];
  if (offered === booted) return [...fields, { label: 'offered', value: 'what it runs: nothing is to be done' }];
  fields.push({ label: 'offered', value: shortCommit(offered) });
  if (planned !== null) fields.push({ label: 'to fetch', value: planInWords(planned) });
  if (held !== null) fields.push({ label: 'not now', value: inOneLine(held), tone: 'warn' });
  else fields.push({ label: 'taken', value: told ? 'by the running agent, now' : 'when the agent runs' });
  return fields;
}
