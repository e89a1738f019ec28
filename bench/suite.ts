// What a suite is made of. A suite gives measures; the harness runs each as pairs, ours and the peer's in turn, and
// takes medians, so that a machine that slows down in between slows both.

/** A program with its arguments, as `spawn` takes them. */
export type Command = readonly [program: string, ...args: string[]];

/** One side of a pair. */
export type Contender = {
  command: Command;
  /** Unmeasured work before every run, such as making an empty repository. */
  before?: () => Promise<void>;
  /** Extra environment of the command. */
  environment?: Record<string, string>;
};

/** How one run of a command went. */
export type Sample = {
  /** Wall clock, s. */
  seconds: number;
  /** Largest resident set of the command, bytes: of all its processes together, as often as they were looked at. */
  peakBytes: number;
  /** User and system time of all its processes, s. */
  cpuSeconds: number;
  stdout: string;
};

/** Something that takes time, done by us and by the peer. */
export type Measure = {
  name: string;
  peer: string;
  ours: Contender;
  theirs: Contender;
  /** The least acceptable ratio theirs / ours. */
  goal?: number;
  /** Runs instead of --runs, for what is much quicker or slower than the rest. */
  runs?: number;
  /** Called after each pair: throws unless both sides did the same work. */
  check?: (ours: Sample, theirs: Sample) => Promise<void>;
  /** Also report the peak memory as a row. */
  memory?: boolean;
};

/** A row of the result. `ours` and `theirs` are null where a side could not be measured; `note` says why. */
export type Row = {
  measure: string;
  unit: string;
  ours: number | null;
  theirs: number | null;
  peer: string;
  /** How many times better ours is: theirs / ours, because less is better in every unit used here. */
  ratio: number | null;
  goal: number | null;
  runs: number;
  /** Every run in order, of which `ours` and `theirs` are the medians. */
  samples?: { ours: number[]; theirs: number[] };
  /** Medians of user and system time of all processes of the command, s: what other load on the machine moves least. */
  cpuSeconds?: { ours: number; theirs: number };
  note?: string;
  machine: string;
};

export type Bench = {
  /** Folder for the suite's files; on a real disk, removed at the end. */
  scratch: string;
  /** Measures pairs and adds their rows; a failure becomes a row that says so. */
  measure: (measure: Measure) => Promise<Measured | null>;
  /** Adds a row of the suite's own. */
  add: (row: Omit<Row, 'machine' | 'ratio'>) => void;
  /** Runs a command once and measures it; throws CommandFailed. */
  run: (contender: Contender) => Promise<Sample>;
  /** Runs a command whose time does not matter; gives its stdout; throws CommandFailed. */
  prepare: (...command: Command) => Promise<string>;
  /** Says what is being done, on stderr. */
  say: (text: string) => void;
  /** Facts about the run that belong under the table: what was measured on, which files. */
  remark: (text: string) => void;
  /** Does something when the suite ends, however it ends. */
  atEnd: (action: () => Promise<void>) => void;
  /** Whether one of these measures is to be run at all: what only they need, need not be made otherwise. */
  wants: (...names: string[]) => boolean;
  runs: number;
  /** Only to see whether the suite works: inputs may be tiny. */
  small: boolean;
};

export type Measured = { ours: Sample[]; theirs: Sample[] };

export type Suite = { title: string; run(bench: Bench): Promise<void> };
