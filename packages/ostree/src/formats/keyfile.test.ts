import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { escapeKeyFileString, formatKeyFile, mergeKeyFile, parseKeyFile, unescapeKeyFileString } from './keyfile.ts';

test('what people wrote into a config stays when keys change', () => {
  const text =
    '# mine\n[core]\nrepo_version=1\n# why bare\nmode=bare\n\n[remote "a"]\nurl=http://a\n# gone with it\n\n[x]\nk = v\n';
  const groups = parseKeyFile(text, 'config');
  assert.equal(mergeKeyFile(text, groups), text);
  groups.get('core')!.set('mode', 'archive').set('fsync', 'false');
  groups.delete('remote "a"');
  groups.set('remote "b"', new Map([['url', 'http://b']]));
  groups.get('x')!.delete('k');
  assert.equal(
    mergeKeyFile(text, groups),
    '# mine\n[core]\nrepo_version=1\n# why bare\nmode=archive\nfsync=false\n\n[x]\n\n[remote "b"]\nurl=http://b\n',
  );
});

test('merging into any file gives a file with just these groups', () => {
  const name = fc.stringMatching(/^[a-z]{1,3}$/);
  const value = fc.stringMatching(/^[a-z0-9=;#[\]]{0,5}$/);
  const keyFile = fc.array(fc.tuple(name, fc.array(fc.tuple(name, value), { maxLength: 4 })), { maxLength: 4 });
  const build = (list: [string, [string, string][]][]) => new Map(list.map(([group, keys]) => [group, new Map(keys)]));
  fc.assert(
    fc.property(keyFile, keyFile, (before, after) => {
      const merged = mergeKeyFile(formatKeyFile(build(before)), build(after));
      assert.deepEqual(parseKeyFile(merged, 'merged'), build(after)); // maps are equal in any order
    }),
  );
});

test('a value cannot add lines to a config', () => {
  for (const text of ['a\n[core]\nx=y', '  \t x ', 'back\\slash', 'r\r', '\\n', 'ü']) {
    const stored = escapeKeyFileString(text);
    assert.ok(!/[\n\r]/.test(stored));
    const file = parseKeyFile(formatKeyFile(new Map([['g', new Map([['k', stored]])]])), 'x');
    assert.equal(unescapeKeyFileString(file.get('g')!.get('k')!), text.replace(/ +$/, ''));
  }
});
