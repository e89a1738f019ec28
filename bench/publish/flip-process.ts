import {
  createRepo,
  generateDelta,
  openRepo,
  type Repo,
  readCommit,
  resolveRev,
  updateSummary,
  withTransaction,
  writeCommit,
} from '@treeline/ostree';

// `flip-process.ts make REPO COUNT`: an archive repository of so many refs, each with two commits and a delta between.
// `flip-process.ts change REPO RUN`: a new commit on one ref, with its delta, but not in the summary yet.
// `flip-process.ts flip REPO RUNS`: in one process, as often: the same, then the ref and the summary, timed; prints the
// seconds as JSON.

/** root:root, 0644. */
const PLAIN = { uid: 0, gid: 0, mode: 0o100644, symlinkTarget: '', xattrs: [] };

const [verb = '', path = '', number = ''] = process.argv.slice(2);
const ref = (index: number) => `app/number-${index}/stable`;

async function next(repo: Repo, text: string, parent: string | null): Promise<string> {
  return await withTransaction(repo, async (tx) => {
    const file = await tx.writeFile(PLAIN, Buffer.from(`${text}\n`.repeat(40)));
    const contents = tx.writeDirTree({ files: new Map([['version', file.checksum]]), dirs: new Map() });
    const tree = { contents, meta: tx.emptyTree().meta };
    return await writeCommit(tx, { tree, subject: text, ...(parent === null ? {} : { parent }) });
  });
}

/** Makes what a release needs, all but what clients look at. */
async function ready(repo: Repo, index: number, text: string): Promise<string> {
  const parent = await resolveRev(repo, ref(index));
  const commit = await next(repo, text, parent);
  await generateDelta(repo, { from: parent, to: commit });
  return commit;
}

async function setRefTo(repo: Repo, index: number, commit: string): Promise<void> {
  await withTransaction(repo, async (tx) => tx.setRef(ref(index), commit));
}

if (verb === 'make') {
  const repo = await createRepo(path, { mode: 'archive' });
  for (let index = 0; index < Number(number); index++) {
    await setRefTo(repo, index, await next(repo, `first ${index}`, null));
    await setRefTo(repo, index, await ready(repo, index, `second ${index}`));
  }
  await updateSummary(repo);
} else if (verb === 'change') {
  const repo = await openRepo(path);
  await setRefTo(repo, 7, await ready(repo, 7, `round ${number}`));
} else if (verb === 'flip') {
  const repo = await openRepo(path);
  await updateSummary(repo);
  const seconds: number[] = [];
  for (let run = 0; run < Number(number); run++) {
    const before = await resolveRev(repo, ref(7));
    const commit = await ready(repo, 7, `round ${run}`);
    const began = performance.now();
    await setRefTo(repo, 7, commit);
    const visible = () => void seconds.push((performance.now() - began) / 1000);
    const changed = { refs: [ref(7)], deltas: [{ from: before, to: commit }] };
    await updateSummary(repo, { changed, onVisible: visible });
    const summary = await resolveRev(repo, ref(7));
    if ((await readCommit(repo, summary)).subject !== `round ${run}`) process.exit(1);
  }
  console.log(JSON.stringify(seconds));
} else {
  console.error('what?');
  process.exit(2);
}
