import type { Refusal } from '../devices/decisions.ts';
import { GatewayRefusal } from './exchange.ts';

/** What a device and its operator read when the registry refuses. */
export function refusalOf(refused: Refusal['refused'], id: string): GatewayRefusal {
  switch (refused) {
    case 'token-invalid':
      return new GatewayRefusal(
        401,
        'token-invalid',
        'the enrolment token is not known, has expired, or is used up',
        'Make a new one on the server: treeline devices enrol-token',
      );
    case 'key-changed':
      return new GatewayRefusal(
        403,
        'key-changed',
        `device "${id}" is known with another key`,
        'If the board was replaced, allow the change (PATCH /api/v1/devices/:id {"allowKeyChange": true}) and try again.',
      );
    case 'unknown-device':
      return new GatewayRefusal(403, 'unknown-device', `device "${id}" is not registered`, 'Enrol it with a token.');
    case 'not-accepted':
      return new GatewayRefusal(
        403,
        'device-pending',
        `device "${id}" waits for an operator to accept it`,
        'PATCH /api/v1/devices/:id {"accepted": true}',
      );
  }
}
