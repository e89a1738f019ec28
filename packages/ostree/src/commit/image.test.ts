import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type Pack, pack } from 'tar-stream';
import { readFileObject } from '../repo/objects.ts';
import { createRepo, type Repo } from '../repo/repo.ts';
import { withTransaction } from '../repo/transaction.ts';
import { treeReader } from '../repo/tree-reader.ts';
import { scratchFolder } from '../testing/scratch.ts';
import { type WriteImageOptions, writeImage } from './image.ts';

async function archive(fill: (tar: Pack) => void): Promise<Buffer> {
  const tar = pack();
  fill(tar);
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const lower = () =>
  archive((tar) => {
    tar.entry({ name: 'usr/', type: 'directory', mode: 0o755, uid: 1 });
    tar.entry({ name: 'usr/keep' }, 'keep');
    tar.entry({ name: 'usr/gone' }, 'gone');
    tar.entry({ name: 'etc/a' }, 'a');
    tar.entry({ name: 'etc/b' }, 'b');
    tar.entry({ name: 'var/dir/x' }, 'x');
    tar.entry({ name: 'swap' }, 'file');
  });

const upper = () =>
  archive((tar) => {
    tar.entry({ name: 'etc/c' }, 'c');
    tar.entry({ name: 'etc/.wh..wh..opq' }, '');
    tar.entry({ name: 'usr/.wh.gone' }, '');
    tar.entry({ name: 'usr/.wh.never' }, '');
    tar.entry({ name: 'usr/link', type: 'link', linkname: 'usr/keep' });
    tar.entry({ name: '.wh.var' }, '');
    tar.entry({ name: 'var/new' }, 'new');
    tar.entry({ name: 'swap/', type: 'directory' });
    tar.entry({ name: 'swap/in' }, 'folder');
    tar.entry({ name: '.wh..wh.plnk' }, '');
  });

class Layout {
  readonly files = new Map<string, Buffer>();

  blob(data: Buffer | object, mediaType: string): object {
    const bytes = Buffer.isBuffer(data) ? data : Buffer.from(JSON.stringify(data));
    const digest = hash('sha256', bytes);
    this.files.set(`blobs/sha256/${digest}`, bytes);
    return { mediaType, digest: `sha256:${digest}`, size: bytes.length };
  }

  image(layers: Buffer[]): object {
    const type = 'application/vnd.oci.image.layer.v1.tar';
    const config = this.blob({ rootfs: {} }, 'application/vnd.oci.image.config.v1+json');
    return this.blob(
      { schemaVersion: 2, config, layers: layers.map((layer) => this.blob(layer, type)) },
      'application/vnd.oci.image.manifest.v1+json',
    );
  }

  index(manifests: object[]): void {
    this.files.set('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
    this.files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })));
  }

  write(folder: string): string {
    for (const [name, data] of this.files) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), data);
    }
    return folder;
  }

  tar(): Promise<Buffer> {
    return archive((tar) => {
      for (const [name, data] of this.files) tar.entry({ name }, data);
    });
  }
}

const tagged = (image: object, tag: string, platform?: object) => ({
  ...image,
  annotations: { 'org.opencontainers.image.ref.name': tag },
  ...(platform ? { platform } : {}),
});

async function listed(repo: Repo, image: string, options: WriteImageOptions = {}): Promise<Record<string, string>> {
  const tree = await withTransaction(repo, (tx) => writeImage(tx, image, options));
  const reader = treeReader(repo);
  const found: Record<string, string> = {};
  const walk = async (contents: string, path: string): Promise<void> => {
    const { files, dirs } = reader.dirTree(contents);
    for (const [name, checksum] of files) {
      const file = await readFileObject(repo, checksum);
      const chunks: Buffer[] = [];
      for await (const chunk of file.content() as AsyncIterable<Buffer>) chunks.push(chunk);
      found[`${path}${name}`] = Buffer.concat(chunks).toString();
    }
    for (const [name, dir] of dirs) await walk(dir.contents, `${path}${name}/`);
  };
  await walk(tree.contents, '');
  return found;
}

const flattened = { 'etc/c': 'c', 'swap/in': 'folder', 'usr/keep': 'keep', 'usr/link': 'keep', 'var/new': 'new' };

async function setUp(t: TestContext): Promise<{ base: string; repo: Repo }> {
  const base = scratchFolder(t);
  return { base, repo: await createRepo(join(base, 'repo')) };
}

test('layers of an OCI layout are laid over one another, with their whiteouts', async (t) => {
  const { base, repo } = await setUp(t);
  const layout = new Layout();
  layout.index([layout.image([gzipSync(await lower()), zstdCompressSync(await upper())])]);
  assert.deepEqual(await listed(repo, layout.write(join(base, 'oci'))), flattened);
  writeFileSync(join(base, 'oci.tar'), await layout.tar());
  assert.deepEqual(await listed(repo, join(base, 'oci.tar')), flattened);
  writeFileSync(join(base, 'oci.tar.gz'), gzipSync(await layout.tar()));
  assert.deepEqual(await listed(repo, join(base, 'oci.tar.gz')), flattened);
});

test('one of several images is told by its tag and its platform, and they are named when nobody says', async (t) => {
  const { base, repo } = await setUp(t);
  const layout = new Layout();
  const image = (name: string) => archive((tar) => tar.entry({ name }, name)).then((tar) => layout.image([tar]));
  const arm = { ...(await image('arm')), platform: { os: 'linux', architecture: 'arm64' } };
  const amd = { ...(await image('amd')), platform: { os: 'linux', architecture: 'amd64' } };
  const proof = { ...(await image('proof')), platform: { os: 'unknown', architecture: 'unknown' } };
  const both = layout.blob({ manifests: [arm, amd, proof] }, 'application/vnd.oci.image.index.v1+json');
  layout.index([tagged(both, 'all'), tagged(await image('old'), 'old')]);
  const folder = layout.write(join(base, 'oci'));
  assert.deepEqual(await listed(repo, `${folder}:old`), { old: 'old' });
  assert.deepEqual(await listed(repo, `${folder}:all`, { platform: 'linux/arm64' }), { arm: 'arm' });
  await assert.rejects(listed(repo, folder), { code: 'invalid', message: /several images: all, old/ });
  const platforms = { code: 'invalid', message: /linux\/arm64, linux\/amd64/ };
  await assert.rejects(listed(repo, `${folder}:all`), platforms);
  await assert.rejects(listed(repo, `${folder}:new`), { code: 'not-found', message: /:new; there is all, old/ });
  await assert.rejects(listed(repo, `${folder}:all`, { platform: 'linux/riscv64' }), { code: 'not-found' });
});

test('what docker save wrote before it wrote OCI layouts is read, and checked against its configuration', async (t) => {
  const { base, repo } = await setUp(t);
  const [one, two] = [await lower(), await upper()];
  const ids = [one, two].map((layer) => `sha256:${hash('sha256', layer)}`);
  const make = (diffIds: string[]) =>
    archive((tar) => {
      tar.entry({ name: '1/layer.tar' }, one);
      tar.entry({ name: '2/layer.tar' }, two);
      tar.entry({ name: '3/layer.tar', type: 'symlink', linkname: '../2/layer.tar' });
      tar.entry({ name: 'c.json' }, JSON.stringify({ rootfs: { diff_ids: diffIds } }));
      const layers = ['1/layer.tar', '3/layer.tar'];
      tar.entry({ name: 'manifest.json' }, JSON.stringify([{ Config: 'c.json', RepoTags: ['x/y:1'], Layers: layers }]));
    });
  writeFileSync(join(base, 'save.tar'), await make(ids));
  assert.deepEqual(await listed(repo, join(base, 'save.tar:1')), flattened);
  writeFileSync(join(base, 'wrong.tar'), await make([ids[0]!, ids[0]!]));
  await assert.rejects(listed(repo, join(base, 'wrong.tar')), { code: 'corrupt', message: /have the digest/ });
});

test('blobs that are not what their digests say, and images that are none, are refused', async (t) => {
  const { base, repo } = await setUp(t);
  const layout = new Layout();
  layout.index([layout.image([gzipSync(await lower())])]);
  const folder = layout.write(join(base, 'oci'));
  for (const name of layout.files.keys()) {
    const whole = readFileSync(join(folder, name));
    if (!name.startsWith('blobs/') || whole.length === '{"rootfs":{}}'.length) continue;
    const changed = Buffer.from(whole);
    changed[changed.length - 1]! ^= 1;
    for (const damaged of [changed, whole.subarray(0, -1), Buffer.concat([whole, Buffer.from('x')])]) {
      writeFileSync(join(folder, name), damaged);
      await assert.rejects(listed(repo, folder), { name: 'OstreeError' }, name);
    }
    writeFileSync(join(folder, name), whole);
  }
  for (const index of ['', '[]', '{}', '{"manifests":[1]}', '{"manifests":[{"digest":"sha256:../../etc/passwd"}]}']) {
    writeFileSync(join(folder, 'index.json'), index);
    await assert.rejects(listed(repo, folder), { name: 'OstreeError' }, index);
  }
  const escaping = new Layout();
  const layer = await archive((tar) => tar.entry({ name: '../out' }, 'x'));
  escaping.index([escaping.image([layer])]);
  await assert.rejects(listed(repo, escaping.write(join(base, 'escaping'))), { code: 'invalid' });
  await assert.rejects(listed(repo, base), { code: 'invalid', message: /neither an OCI image layout/ });
});
