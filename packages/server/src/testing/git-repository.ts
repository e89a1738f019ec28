import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Text, an executable text, a symlink's target, or null to remove. */
export type FileContent = string | Uint8Array | { executable: string } | { symlink: string } | null;

/** A git repository with a work tree, as a developer has it. */
export interface GitRepository {
  path: string;
  git(...args: string[]): string;
  /** Writes files and commits them; returns the revision. */
  commit(subject: string, files: Record<string, FileContent>): string;
}

export function createGitRepository(path: string): GitRepository {
  mkdirSync(path, { recursive: true });
  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', path, '-c', 'user.name=Test', '-c', 'user.email=test@example.org', ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  git('init', '--quiet', '--initial-branch=main');
  return {
    path,
    git,
    commit(subject, files) {
      for (const [name, content] of Object.entries(files)) put(join(path, name), content);
      git('add', '--all');
      git('commit', '--quiet', '--allow-empty', '--message', subject);
      return git('rev-parse', 'HEAD');
    },
  };
}

function put(path: string, content: FileContent): void {
  rmSync(path, { force: true });
  if (content === null) return;
  mkdirSync(dirname(path), { recursive: true });
  if (typeof content === 'string' || content instanceof Uint8Array) writeFileSync(path, content);
  else if ('symlink' in content) symlinkSync(content.symlink, path);
  else {
    writeFileSync(path, content.executable);
    chmodSync(path, 0o755);
  }
}
