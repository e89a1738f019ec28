// The first thing that `treeline` loads. `treeline repo` stands in for `ostree` in scripts that call it hundreds of
// times, so it must not wait for anything that the other verbs need.
const argv = process.argv.slice(2);

// A link named `ostree` to this program is `treeline repo`.
if (process.argv[1]?.endsWith('/ostree')) argv.unshift('repo');
if (argv[0] === 'repo') {
  // A reader that has seen enough (`treeline repo ls … | head`) is no failure.
  process.stdout.on('error', () => process.exit(0));
  const { main } = await import('./repo/main.ts');
  process.exitCode = await main(argv.slice(1));
} else {
  const { main } = await import('./program.ts');
  process.exitCode = await main(argv);
}
