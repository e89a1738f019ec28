import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseList } from './committed.ts';

test('the list of `ostree ls` is read, with names and targets of any kind', () => {
  const text = `d00755 0 0      0 /
l00777 0 0      0 /bin -> usr/bin
-04755 7 80     3 /usr/bin/a b
l00777 0 0      0 /usr/bin/l -> a -> b
-00644 0 0 123456789 /usr/bin/new
line
`;
  const entries = [...parseList(text)].map(([path, { type, mode, uid, gid, size, target }]) =>
    [type, mode.toString(8), `${uid}:${gid}`, size, target, path].join(' '),
  );
  assert.deepEqual(entries, [
    'folder 755 0:0 0  /',
    'symlink 777 0:0 0 usr/bin /bin',
    'file 4755 7:80 3  /usr/bin/a b',
    'symlink 777 0:0 0 a -> b /usr/bin/l',
    'file 644 0:0 123456789  /usr/bin/new\nline',
  ]);
  assert.deepEqual([...parseList('')], []);
});
