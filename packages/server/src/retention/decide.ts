import type { HeldCommit } from '../devices/runs.ts';
import type { ReleaseState } from '../publish/tables.ts';

/** Why a commit is kept. `text` is for people. */
export interface Reason {
  kind: 'ref' | 'publishing' | 'current' | 'recent' | 'young' | 'pinned' | 'device' | 'delta';
  text: string;
}

export interface ReleaseFact {
  number: number;
  channel: string;
  commit: string;
  state: ReleaseState;
  /** ms; null while it is not published. */
  publishedAt: number | null;
  /** It only noted that the channel had the commit already. */
  confirms: boolean;
}

export interface PinFact {
  commit: string;
  actor: string;
  reason: string;
}

/** What is known of a published repository at one moment. */
export interface RetentionFacts {
  /** ms */
  now: number;
  /** `retention` of its settings: counts, and days. */
  policy: { releases: number; youngerThan: number; grace: number };
  /** `deltas.previous` of its settings: from so many releases before a new one deltas are made. */
  deltaSources: number;
  /** The commits that are there. */
  commits: ReadonlySet<string>;
  refs: ReadonlyMap<string, string>;
  releases: readonly ReleaseFact[];
  pins: readonly PinFact[];
  held: readonly HeldCommit[];
  /** What was dropped before. */
  dropped: ReadonlyMap<string, { droppedAt: number; unlistedAt: number | null }>;
}

export interface Dropped {
  /** ms; now, for what is dropped by this decision. */
  since: number;
  /** ms; null while something still names it, so that its grace has not begun. */
  goesAt: number | null;
}

/** What is to be done. Every commit that is there is in `kept` or in `dropped`. */
export interface RetentionDecision {
  kept: Map<string, Reason[]>;
  dropped: Map<string, Dropped>;
  /** Of the dropped ones those whose grace is over. */
  going: Set<string>;
}

const DAY_MS = 86_400_000;

/**
 * Decides which commits of a published repository stay, and why; which are dropped, and since when; and which go now.
 *
 * INVARIANTS
 * - What a ref names, what is being published, what a delta in the making is made from, what is pinned, what a device
 *   runs, was last offered or may fall back to, is kept.
 * - Nothing goes before `grace` has passed since nothing named it, and was dropped all that time: being kept at any
 *   moment between begins it anew.
 * - It is a function of its facts: asked again, after a crash too, it gives the same answer.
 */
export function decideRetention(facts: RetentionFacts): RetentionDecision {
  const reasons = new Map<string, Reason[]>();
  const keep = (commit: string, kind: Reason['kind'], text: string) => {
    if (!facts.commits.has(commit)) return;
    const list = reasons.get(commit);
    if (list) list.push({ kind, text });
    else reasons.set(commit, [{ kind, text }]);
  };
  keepReleases(facts, keep);
  for (const [ref, commit] of facts.refs) {
    const known = reasons.get(commit)?.some(({ kind, text }) => kind === 'current' && text.startsWith(`${ref} `));
    if (!known) keep(commit, 'ref', `the ref ${ref} names it`);
  }
  for (const { commit, actor, reason } of facts.pins) keep(commit, 'pinned', `pinned by ${actor}: ${reason}`);
  for (const held of facts.held) keep(held.commit, 'device', heldBy(held));

  return { kept: reasons, ...decideDropped({ ...facts, grace: facts.policy.grace * DAY_MS }, reasons) };
}

/**
 * What of these commits is dropped, given what is kept, and what goes now.
 *
 * @param facts.grace in ms
 */
export function decideDropped(
  facts: Pick<RetentionFacts, 'now' | 'commits' | 'dropped'> & { grace: number },
  kept: { has(commit: string): boolean },
): Pick<RetentionDecision, 'dropped' | 'going'> {
  const dropped = new Map<string, Dropped>();
  const going = new Set<string>();
  for (const commit of facts.commits) {
    if (kept.has(commit)) continue;
    const before = facts.dropped.get(commit);
    const unlistedAt = before?.unlistedAt ?? null;
    const goesAt = unlistedAt === null ? null : unlistedAt + facts.grace;
    dropped.set(commit, { since: before?.droppedAt ?? facts.now, goesAt });
    if (goesAt !== null && goesAt <= facts.now) going.add(commit);
  }
  return { dropped, going };
}

type Keep = (commit: string, kind: Reason['kind'], text: string) => void;

function keepReleases({ now, policy, deltaSources, releases }: RetentionFacts, keep: Keep): void {
  const youngSince = now - policy.youngerThan * DAY_MS;
  for (const [channel, list] of Map.groupBy(releases, (release) => release.channel)) {
    const newest = [...list].sort((a, b) => b.number - a.number);
    const waiting = newest.filter((release) => release.state === 'publishing');
    for (const { commit, number } of waiting) {
      keep(commit, 'publishing', `release ${number} of ${channel} is being published`);
    }
    const published = newest.filter((release) => release.state === 'published');
    const current = published[0];
    if (current) {
      const { commit } = current;
      const number = published.find((release) => release.commit === commit && !release.confirms)?.number;
      keep(commit, 'current', `${channel} has it now (release ${number ?? current.number})`);
    }
    // A release that found its commit there already is none that anybody would count.
    const counted = published.filter((release) => !release.confirms);
    const told = new Set(current ? [current.commit] : []);
    for (const [index, { commit, number, publishedAt }] of counted.entries()) {
      const isRecent = index < policy.releases;
      const isYoung = policy.youngerThan > 0 && publishedAt !== null && publishedAt > youngSince;
      if ((!isRecent && !isYoung) || told.has(commit)) continue;
      told.add(commit);
      const name = `release ${number} of ${channel}`;
      if (isRecent) keep(commit, 'recent', `${name} is one of its newest ${policy.releases}`);
      else keep(commit, 'young', `${name} is younger than ${count(policy.youngerThan, 'day')}`);
    }
    if (waiting.length === 0) continue;
    for (const { commit, number } of sourcesOf(
      counted,
      new Set(waiting.map((release) => release.commit)),
      deltaSources,
    )) {
      keep(
        commit,
        'delta',
        `the delta to the release that is being published on ${channel} is made from release ${number}`,
      );
    }
  }
}

/** The newest releases of other commits than these, each commit once. */
function sourcesOf(releases: readonly ReleaseFact[], not: ReadonlySet<string>, most: number): ReleaseFact[] {
  const byCommit = new Map<string, ReleaseFact>();
  for (const release of releases) {
    if (!not.has(release.commit) && !byCommit.has(release.commit)) byCommit.set(release.commit, release);
  }
  return [...byCommit.values()].slice(0, most);
}

function heldBy({ as, devices, one }: HeldCommit): string {
  const who =
    one === null ? count(devices, 'device') : devices === 1 ? one : `${one} and ${count(devices - 1, 'other')}`;
  if (as === 'running') return `${who} ${devices === 1 ? 'runs' : 'run'} it`;
  return as === 'offered' ? `${who} may be fetching it` : `${who} may fall back to it`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
