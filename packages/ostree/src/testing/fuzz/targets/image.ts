import { hash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { writeImage } from '../../../commit/image.ts';
import { tarEnd, tarHeader, tarPadding } from '../../../export/tar-writer.ts';
import { createRepo } from '../../../repo/repo.ts';
import { withTransaction } from '../../../repo/transaction.ts';
import type { FuzzScratch, FuzzTarget } from '../target.ts';

const owner = { mode: 0o644, uid: 0, gid: 0 };

function tar(files: Record<string, Buffer>): Buffer {
  const entries = Object.entries(files).flatMap(([path, content]) => [
    tarHeader({ ...owner, path, kind: 'file', size: content.length }),
    content,
    tarPadding(content.length),
  ]);
  return Buffer.concat([...entries, tarEnd()]);
}

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const digestOf = (data: Buffer): string => `sha256:${hash('sha256', data)}`;

/** Images of containers of which one document at a time is something else. */
export async function makeTargets({ inside }: FuzzScratch): Promise<FuzzTarget[]> {
  const repo = { ...(await createRepo(join(inside, 'image-repo'), { mode: 'bare-user-only' })), fsync: false };
  const plain = tar({ 'etc/file': Buffer.from('in a layer\n'), 'etc/.wh.gone': Buffer.alloc(0) });
  const layer = gzipSync(plain);
  const layout = join(inside, 'image');
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true });
  const blob = (data: Buffer, mediaType: string) => {
    writeFileSync(join(layout, 'blobs/sha256', hash('sha256', data)), data);
    return { mediaType, digest: digestOf(data), size: data.length };
  };
  const config = json({ architecture: 'arm64', os: 'linux', rootfs: { type: 'layers', diff_ids: [digestOf(plain)] } });
  const manifest = json({
    schemaVersion: 2,
    config: blob(config, 'application/vnd.oci.image.config.v1+json'),
    layers: [blob(layer, 'application/vnd.oci.image.layer.v1.tar+gzip')],
  });
  const manifestType = 'application/vnd.oci.image.manifest.v1+json';
  const index = (data: Buffer) =>
    json({
      schemaVersion: 2,
      manifests: [
        {
          ...blob(data, manifestType),
          platform: { os: 'linux', architecture: 'arm64' },
          annotations: { 'org.opencontainers.image.ref.name': 'latest' },
        },
      ],
    });
  const write = () => withTransaction(repo, (tx) => writeImage(tx, layout));
  const docker = join(inside, 'docker.tar');
  const dockerManifest = json([{ Config: 'config.json', RepoTags: ['app:latest'], Layers: ['layer.tar'] }]);
  const saved = (files: Record<string, Buffer>) =>
    tar({ 'layer.tar': plain, 'config.json': config, 'manifest.json': dockerManifest, ...files });
  const writeDocker = (data: Buffer) => {
    writeFileSync(docker, data);
    return withTransaction(repo, (tx) => writeImage(tx, docker));
  };
  return [
    {
      name: 'image-index',
      cost: 'disk',
      samples: [index(manifest)],
      async feed(input) {
        writeFileSync(join(layout, 'index.json'), input);
        await write();
      },
    },
    {
      name: 'image-manifest',
      cost: 'disk',
      samples: [manifest],
      async feed(input) {
        writeFileSync(join(layout, 'index.json'), index(input));
        await write();
      },
    },
    { name: 'image-saved', cost: 'disk', samples: [saved({})], feed: async (input) => void (await writeDocker(input)) },
    {
      name: 'image-saved-manifest',
      cost: 'disk',
      samples: [dockerManifest],
      feed: async (input) => void (await writeDocker(saved({ 'manifest.json': input }))),
    },
    {
      name: 'image-saved-config',
      cost: 'disk',
      samples: [config],
      feed: async (input) => void (await writeDocker(saved({ 'config.json': input }))),
    },
  ];
}
