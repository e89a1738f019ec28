import type { AccessTables } from '../access/tables.ts';
import type { DeviceTables } from '../devices/tables.ts';
import type { DifferenceTables } from '../differences/tables.ts';
import type { EventTables } from '../events/tables.ts';
import type { ExecutionTables } from '../executions/tables.ts';
import type { LabTables } from '../lab/tables.ts';
import type { LabelTables } from '../labels/tables.ts';
import type { PublishTables } from '../publish/tables.ts';
import type { PushTables } from '../push/tables.ts';
import type { RetentionTables } from '../retention/tables.ts';
import type { RunTables } from '../runs/tables.ts';
import type { SourceTables } from '../sources/tables.ts';

/** Every table. Each capability's folder declares its own; times are ms since the epoch, booleans 0 or 1, JSON is text. */
export interface Tables
  extends AccessTables,
    DeviceTables,
    DifferenceTables,
    EventTables,
    ExecutionTables,
    LabTables,
    LabelTables,
    PublishTables,
    PushTables,
    RetentionTables,
    RunTables,
    SourceTables {}
