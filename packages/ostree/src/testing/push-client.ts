/** Program: pushes. Arguments: the repository, the address of a receiver, the ref. */
import { push } from '../push/push.ts';
import { openRepo } from '../repo/repo.ts';

const [path = '', url = '', ref = ''] = process.argv.slice(2);
console.log(JSON.stringify(await push(await openRepo(path), url, { ref })));
