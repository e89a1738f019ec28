import { OstreeError } from '../../../errors.ts';
import { encode } from '../../../gvariant/encode.ts';
import { parseEd25519PublicKey, signEd25519, verifyEd25519 } from '../../../sign/ed25519.ts';
import { parseKeyListing } from '../../../sign/gpg-key.ts';
import { parseVerifyStatus } from '../../../sign/gpg-signature.ts';
import { signaturePackets } from '../../../sign/openpgp.ts';
import { decodeSignatures, signaturesOf } from '../../../sign/remote-verification.ts';
import { type FuzzTarget, PromiseBroken } from '../target.ts';

/** A detached signature by an ed25519 key, as gpg makes it. */
const detached = Buffer.from(
  '887504001608001d162104648a915d8870de075a6d6c4e4f4e290818b9b5f605026b03db76000a09104f4e290818b9b5f6f54b00fe3ab1946ee8ca16c177bc14b5feed9ff7c0cc2aeff386d347d5eff28a1614fcf101009b3706bd9c08fcefee66ff6ca40592c03f36b6f0509dc3c02407ed1fcdafb808',
  'hex',
);
const armored = Buffer.from(
  `-----BEGIN PGP SIGNATURE-----\n\n${detached.toString('base64').replace(/.{64}/g, '$&\n')}\n=AAAA\n-----END PGP SIGNATURE-----\n`,
);

const secret = Buffer.from(
  '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
  'hex',
);
const publicKey = secret.subarray(32);
const data = Buffer.from('what is signed');
const signature = signEd25519(data, secret);
const metadata = (...value: Buffer[]) => encode('a{sv}', [['ostree.sign.ed25519', { type: 'aay', value }]]);

const listing = `tru::1:1795412210:0:3:1:5
pub:-:255:22:B7E23F9045E93F06:1795412210:1795412212::-:::sc:::::ed25519:::0:
fpr:::::::::815F031E246DE1BF07A1D879B7E23F9045E93F06:
uid:-::::1795412210::9F4EFDFF8D2EBE7413135E91FC582CADAE2EF011::A \\x3a B (hm) <a@b.c>::::::::::0:
`;
const status = `[GNUPG:] NEWSIG
[GNUPG:] GOODSIG B7E23F9045E93F06 A
[GNUPG:] VALIDSIG 815F031E246DE1BF07A1D879B7E23F9045E93F06 2026-11-23 1795412210 0 4 0 22 8 00 815F031E246DE1BF07A1D879B7E23F9045E93F06
`;

export function makeTargets(): FuzzTarget[] {
  return [
    {
      name: 'openpgp-signature',
      cost: 'memory',
      samples: [detached, Buffer.concat([detached, detached]), armored],
      feed(input) {
        const packets = signaturePackets(input);
        if (!packets) throw new OstreeError('corrupt', 'no detached signature');
        const whole = Buffer.concat(packets.map(({ bytes }) => bytes));
        const binary = (input[0]! & 0x80) !== 0;
        if (binary && !whole.equals(input)) throw new PromiseBroken('packets that are not all of the input');
        for (const { bytes } of packets) {
          const tag = (bytes[0]! & 0x40) === 0 ? (bytes[0]! >> 2) & 0xf : bytes[0]! & 0x3f;
          if (tag !== 2) throw new PromiseBroken(`a packet of type ${tag} taken for a signature`);
        }
      },
    },
    {
      name: 'ed25519-signatures',
      cost: 'memory',
      samples: [metadata(signature), metadata(Buffer.alloc(64), Buffer.alloc(3), signature)],
      feed(input) {
        const signatures = signaturesOf(decodeSignatures(input), 'ostree.sign.ed25519');
        if (!signatures) throw new OstreeError('signature', 'no signatures');
        verifyEd25519(data, signatures, { trusted: [publicKey], revoked: [] });
        if (!signatures.some((one) => signature.equals(one))) throw new PromiseBroken('a forged signature is good');
      },
    },
    {
      name: 'ed25519-public-key',
      cost: 'memory',
      samples: [Buffer.from(publicKey.toString('base64'))],
      feed(input) {
        if (parseEd25519PublicKey(input.toString('latin1')).length !== 32) throw new PromiseBroken('a key of odd size');
      },
    },
    {
      name: 'gpg-status',
      cost: 'memory',
      samples: [Buffer.from(status)],
      feed(input) {
        for (const { valid, fingerprint } of parseVerifyStatus(input.toString('utf8'), parseKeyListing(listing))) {
          const known = fingerprint === '815F031E246DE1BF07A1D879B7E23F9045E93F06';
          if (valid && !known) throw new PromiseBroken(`good by a key that is in no keyring: ${fingerprint}`);
        }
      },
    },
    {
      name: 'gpg-key-listing',
      cost: 'memory',
      samples: [Buffer.from(listing)],
      feed(input) {
        for (const { subkeys } of parseKeyListing(input.toString('utf8'))) {
          if (subkeys.length === 0) throw new PromiseBroken('a key without a key');
        }
      },
    },
  ];
}
