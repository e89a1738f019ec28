/** Says as JSON what space the folders named on the command line take; after `enough` bytes it stops counting. */
import { diskUsage } from './usage.ts';

const [enough, ...folders] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await diskUsage(folders, enough === 'all' ? {} : { enough: Number(enough) })));
