import type { Readable } from 'node:stream';
import { OstreeError } from '../errors.ts';
import { type Descriptor, type ImageSource, openBlob, readJson, verified } from './image-source.ts';

/** The layers of one image, the lowest first; each is opened when it is its turn. */
export type Layers = (() => Readable)[];

export interface ImageChoice {
  tag: string | null;
  /** `os/architecture` or `os/architecture/variant`. */
  platform: string | undefined;
}

/** Indexes in indexes; there are never more than two. */
const MAX_DEPTH = 4;

/**
 * Finds the image that was asked for in an OCI image layout or in what `docker save` writes.
 *
 * @throws OstreeError `not-found`; `invalid` when there are several to choose from, naming them, or a manifest is
 *   malformed; `corrupt` for wrong digests; `unsupported` for layers of unknown kinds
 */
export async function findLayers(source: ImageSource, choice: ImageChoice): Promise<Layers> {
  if (source.size('index.json') !== null) {
    const index = record(await readJson(source.open('index.json'), `${source.path}: index.json`), 'index.json');
    return imageLayers(source, await chosen(source, descriptors(index.manifests, 'index.json'), choice, 0));
  }
  if (source.size('manifest.json') !== null) return dockerLayers(source, choice.tag);
  throw new OstreeError('invalid', `${source.path}: neither an OCI image layout nor an archive of docker save`, {
    hint: 'It should have an index.json or a manifest.json.',
  });
}

async function chosen(
  source: ImageSource,
  all: readonly Descriptor[],
  { tag, platform }: ImageChoice,
  depth: number,
): Promise<Descriptor> {
  // Attestations are stored as images for no platform.
  const images = all.filter((one) => one.platform?.os !== 'unknown');
  const tagged = depth > 0 || tag === null ? images : images.filter((one) => isTagged(one, tag));
  const fitting = platform === undefined ? tagged : tagged.filter((one) => fits(one, platform));
  const only = fitting.length === 1 ? fitting[0]! : null;
  if (!only) {
    const names = tagged.length > 0 && (fitting.length > 0 || platform !== undefined) ? tagged : images;
    const list = [...new Set(names.map(nameOf))].join(', ') || 'none';
    const asked = [tag === null ? '' : `:${tag}`, platform === undefined ? '' : ` for ${platform}`].join('');
    if (fitting.length === 0)
      throw new OstreeError('not-found', `${source.path}: has no image${asked}; there is ${list}`);
    throw new OstreeError('invalid', `${source.path}: has several images${asked}: ${list}`, {
      hint: 'Say which: PATH:TAG, and a platform such as linux/arm64.',
    });
  }
  const { mediaType } = only;
  const isIndex = mediaType?.includes('image.index') || mediaType?.includes('manifest.list');
  if (!isIndex) return only;
  if (depth >= MAX_DEPTH) throw new OstreeError('invalid', `${source.path}: indexes in indexes without end`);
  const index = record(await readJson(openBlob(source, only), only.digest), only.digest);
  return chosen(source, descriptors(index.manifests, only.digest), { tag, platform }, depth + 1);
}

function isTagged({ annotations = {} }: Descriptor, tag: string): boolean {
  const names = [annotations['org.opencontainers.image.ref.name'], annotations['io.containerd.image.name']];
  return names.some((name) => name === tag || name?.endsWith(`:${tag}`));
}

function platformOf({ platform }: Descriptor): string | null {
  if (!platform) return null;
  return [platform.os, platform.architecture, ...(platform.variant ? [platform.variant] : [])].join('/');
}

function fits(one: Descriptor, wanted: string): boolean {
  const has = platformOf(one);
  // What does not say is for whoever takes it: an index with one image, mostly.
  return has === null || has === wanted || has.startsWith(`${wanted}/`);
}

function nameOf(one: Descriptor): string {
  const tag = one.annotations?.['org.opencontainers.image.ref.name'];
  return [tag, platformOf(one)].filter(Boolean).join(' ') || one.digest;
}

async function imageLayers(source: ImageSource, image: Descriptor): Promise<Layers> {
  const manifest = record(await readJson(openBlob(source, image), image.digest), image.digest);
  return descriptors(manifest.layers, image.digest).map((layer) => {
    const { mediaType = '' } = layer;
    if (mediaType.includes('encrypted') || !/tar|^$/.test(mediaType)) {
      throw new OstreeError('unsupported', `${source.path}: a layer of type ${mediaType}`);
    }
    return () => openBlob(source, layer);
  });
}

/** `manifest.json` of `docker save`: layers by path, and their digests, unpacked, in the image's configuration. */
async function dockerLayers(source: ImageSource, tag: string | null): Promise<Layers> {
  const what = `${source.path}: manifest.json`;
  const parsed = await readJson(source.open('manifest.json'), what);
  if (!Array.isArray(parsed)) throw malformed(what);
  const images = parsed.map((one) => record(one, what));
  const wanted = images.filter(({ RepoTags }) => {
    const tags = Array.isArray(RepoTags) ? RepoTags.map(String) : [];
    return tag === null || tags.some((name) => name === tag || name.endsWith(`:${tag}`));
  });
  if (wanted.length !== 1) {
    const list = images.map(({ RepoTags }) => String(RepoTags)).join(', ');
    const message = `${source.path}: ${wanted.length === 0 ? `has no image :${tag}` : 'has several images'}: ${list}`;
    throw new OstreeError(wanted.length === 0 ? 'not-found' : 'invalid', message, { hint: 'Say which: PATH:TAG.' });
  }
  const { Config, Layers: names } = wanted[0]!;
  if (typeof Config !== 'string' || !Array.isArray(names)) throw malformed(what);
  const config = record(await readJson(source.open(Config), `${source.path}: ${Config}`), Config);
  const digests = record(config.rootfs, Config).diff_ids;
  if (!Array.isArray(digests) || digests.length !== names.length) throw malformed(`${source.path}: ${Config}`);
  return names.map((name: unknown, index) => () => {
    const hex = /^sha256:([0-9a-f]{64})$/.exec(String(digests[index]))?.[1];
    if (typeof name !== 'string' || hex === undefined) throw malformed(what);
    return verified(source.open(name), { algorithm: 'sha256', hex, what: `${source.path}: ${name}` });
  });
}

function descriptors(value: unknown, what: string): Descriptor[] {
  if (!Array.isArray(value)) throw malformed(what);
  return value.map((one) => {
    const { digest } = record(one, what);
    if (typeof digest !== 'string') throw malformed(what);
    return one as Descriptor;
  });
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(what);
  return value as Record<string, unknown>;
}

function malformed(what: string): OstreeError {
  return new OstreeError('invalid', `${what}: is not what it should be`);
}
