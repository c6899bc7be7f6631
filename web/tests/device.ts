// A simulated serial device: the ROM loader of an ESP32 chip, esptool's stub, and behind a reset the console of rillm's firmware.
// The protocol is Espressif's ("Serial Protocol" of esptool's documentation): SLIP frames, commands with a checksum of their data,
// deflated blocks, MD5 of the flash. No silicon is behind it: what a chip does electrically, and its timing, are not simulated.

import { createHash } from "node:crypto";
import { inflateSync } from "node:zlib";
import type { Page } from "@playwright/test";
import { terminal } from "./command";

const [FLASH_DEFL_BEGIN, FLASH_DEFL_DATA, FLASH_DEFL_END, FLASH_MD5] = [0x10, 0x11, 0x12, 0x13];
const [MEM_BEGIN, MEM_END, MEM_DATA, SYNC, WRITE_REG, READ_REG] = [0x05, 0x06, 0x07, 0x08, 0x09, 0x0a];
const [CHANGE_BAUDRATE, SECURITY_INFO] = [0x0f, 0x14];
/** SPI controller of the ESP32-C3, and the registers that esptool's flash commands use. */
const [SPI_CMD, SPI_W0] = [0x6000_2000, 0x6000_2058];
/** GigaDevice, 4 MiB. */
const FLASH_ID = 0x1640c8;

const slip = (bytes: Uint8Array) => Buffer.concat([Buffer.of(0xc0), Buffer.from([...bytes].flatMap((byte) => (byte === 0xc0 ? [0xdb, 0xdc] : byte === 0xdb ? [0xdb, 0xdd] : [byte]))), Buffer.of(0xc0)]);

export class Device {
  readonly flash = Buffer.alloc(4 << 20, 0xff);
  /** What happened, for a test to look at. */
  readonly log: string[] = [];
  /** Bytes that the flash stores wrongly. */
  breaks = false;
  /** The model that its firmware runs, a file; without it the bundled one. */
  model: string | undefined;
  private mode: "off" | "loader" | "stub" | "firmware" = "off";
  private received = Buffer.alloc(0);
  private signals = { dataTerminalReady: false, requestToSend: false };
  private registers = new Map<number, number>();
  private memory: { address: number; bytes: Buffer[] } | undefined;
  private written: { address: number; size: number; blocks: number; bytes: Buffer[] } | undefined;
  private max = 256;

  /** @param chipId 5 is the ESP32-C3, 9 the ESP32-S3, 13 the ESP32-C6. */
  constructor(private readonly chipId = 5) {}

  /** Gives the page a serial port that leads here. */
  async connect(page: Page): Promise<void> {
    await page.exposeFunction("deviceWrite", (base64: string) => this.write(Buffer.from(base64, "base64")).toString("base64"));
    await page.exposeFunction("deviceSignals", (signals: object) => this.signal(signals).toString("base64"));
    await page.addInitScript(() => {
      const device = globalThis as unknown as { deviceWrite(base64: string): Promise<string>; deviceSignals(signals: object): Promise<string> };
      const port = {
        readable: null as ReadableStream | null,
        writable: null as WritableStream | null,
        getInfo: () => ({ usbVendorId: 0x10c4, usbProductId: 0xea60 }),
        push: (_: string) => {},
        async open() {
          if (this.readable) throw new DOMException("The port is already open.", "InvalidStateError");
          this.readable = new ReadableStream({
            start: (controller) => {
              this.push = (base64) => base64 && controller.enqueue(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
            },
            cancel: () => {
              this.push = () => {};
            },
          });
          this.writable = new WritableStream({
            write: async (bytes: Uint8Array) => this.push(await device.deviceWrite(btoa(String.fromCharCode(...bytes)))),
          });
        },
        async close() {
          if (this.readable?.locked || this.writable?.locked) throw new TypeError("Cannot close a locked stream.");
          this.readable = this.writable = null;
        },
        async setSignals(signals: object) {
          this.push(await device.deviceSignals(signals));
        },
      };
      Object.defineProperty(navigator, "serial", { value: { requestPort: async () => port, getPorts: async () => [port] } });
    });
  }

  private signal(signals: object): Buffer {
    const before = this.signals.requestToSend;
    Object.assign(this.signals, signals);
    // EN is released: IO0 chooses between loader and firmware.
    if (!before || this.signals.requestToSend) return Buffer.alloc(0);
    this.received = Buffer.alloc(0);
    if (this.signals.dataTerminalReady) {
      this.mode = "loader";
      return Buffer.from("ESP-ROM\r\nboot:0x5 (DOWNLOAD)\r\nwaiting for download\r\n");
    }
    this.mode = this.flash[0] === 0xe9 ? "firmware" : "off";
    this.log.push(`reset to ${this.mode}`);
    return Buffer.from(this.mode === "firmware" ? "rillm 0.1.0 on a simulated ESP32-C3\r\nType the beginning of a text, or /help.\r\n> " : "invalid header: 0xffffffff\r\n");
  }

  private write(bytes: Buffer): Buffer {
    if (this.mode === "firmware") return this.type(bytes);
    this.received = Buffer.concat([this.received, bytes]);
    const answers: Buffer[] = [];
    for (;;) {
      const start = this.received.indexOf(0xc0);
      const end = start < 0 ? -1 : this.received.indexOf(0xc0, start + 1);
      if (end < 0) return Buffer.concat(answers);
      const frame = this.received.subarray(start + 1, end);
      this.received = this.received.subarray(end + 1);
      const packet = Buffer.from(frame.toString("latin1").replaceAll("\xdb\xdc", "\xc0").replaceAll("\xdb\xdd", "\xdb"), "latin1");
      if (packet.length >= 8) answers.push(this.command(packet));
    }
  }

  private command(packet: Buffer): Buffer {
    const [operation, length, checksum] = [packet[1]!, packet.readUInt16LE(2), packet.readUInt32LE(4)];
    const data = packet.subarray(8);
    const word = (index: number) => data.readUInt32LE(4 * index);
    const answer = (value = 0, more: Uint8Array = Buffer.alloc(0), error = 0) => {
      // The loader has two more bytes of status than the stub.
      const status = Buffer.from(this.mode === "stub" ? [error ? 1 : 0, error] : [error ? 1 : 0, error, 0, 0]);
      const head = Buffer.alloc(8);
      head.writeUInt8(1, 0);
      head.writeUInt8(operation, 1);
      head.writeUInt16LE(more.length + status.length, 2);
      head.writeUInt32LE(value >>> 0, 4);
      return slip(Buffer.concat([head, more, status]));
    };
    if (length !== data.length) return answer(0, undefined, 0x05);
    const isData = operation === MEM_DATA || operation === FLASH_DEFL_DATA;
    if (isData && data.subarray(16).reduce((sum, byte) => sum ^ byte, 0xef) !== (checksum & 0xff)) return answer(0, undefined, 0x07);
    switch (operation) {
      case SYNC:
        // Eight answers, as the ROM has them.
        return Buffer.concat(Array.from({ length: 8 }, () => answer(0x2055_5555)));
      case READ_REG:
        return answer(this.registers.get(word(0)) ?? 0);
      case WRITE_REG:
        this.registers.set(word(0), word(1));
        if (word(0) === SPI_CMD) {
          this.registers.set(SPI_CMD, 0);
          this.registers.set(SPI_W0, FLASH_ID);
        }
        return answer();
      case SECURITY_INFO: {
        const info = Buffer.alloc(20);
        info.writeUInt32LE(this.chipId, 12);
        return answer(0, info);
      }
      case MEM_BEGIN:
        this.memory = { address: word(3), bytes: [] };
        return answer();
      case MEM_DATA:
        if (!this.memory || word(1) !== this.memory.bytes.length) return answer(0, undefined, 0x06);
        this.memory.bytes.push(data.subarray(16, 16 + word(0)));
        return answer();
      case MEM_END: {
        const started = answer();
        if (word(1) === 0) return started;
        this.log.push("stub started");
        this.mode = "stub";
        return Buffer.concat([started, slip(Buffer.from("OHAI"))]);
      }
      case CHANGE_BAUDRATE:
        this.log.push(`${word(0)} baud`);
        return answer();
      case FLASH_DEFL_BEGIN:
        this.written = { size: word(0), blocks: word(1), address: word(3), bytes: [] };
        return answer();
      case FLASH_DEFL_DATA: {
        const { written } = this;
        if (!written || word(1) !== written.bytes.length) return answer(0, undefined, 0x06);
        written.bytes.push(Buffer.from(data.subarray(16, 16 + word(0))));
        if (written.bytes.length === written.blocks) {
          const bytes = inflateSync(Buffer.concat(written.bytes));
          if (bytes.length !== written.size) return answer(0, undefined, 0x0b);
          bytes.copy(this.flash, written.address);
          if (this.breaks) this.flash[written.address + 5000]! ^= 1;
          this.log.push(`${bytes.length} bytes at ${written.address}`);
        }
        return answer();
      }
      case FLASH_DEFL_END:
        return answer();
      case FLASH_MD5: {
        const md5 = createHash("md5").update(this.flash.subarray(word(0), word(0) + word(1))).digest();
        return answer(0, this.mode === "stub" ? md5 : Buffer.from(md5.toString("hex")));
      }
      default:
        // SPI_ATTACH, SPI_SET_PARAMS and others that only need an answer.
        return answer();
    }
  }

  /** The console of the firmware, whose text is the command's. */
  private type(bytes: Buffer): Buffer {
    this.received = Buffer.concat([this.received, bytes]);
    const end = this.received.indexOf("\r");
    if (end < 0) return Buffer.alloc(0);
    const line = this.received.subarray(0, end).toString();
    this.received = this.received.subarray(end + 1);
    const setting = line.match(/^\/max (\d+)$/);
    if (setting) this.max = Number(setting[1]);
    if (line.startsWith("/")) return Buffer.from(`${line}\r\n${line.slice(1)}\r\n> `);
    const text = terminal("run", "--prompt", line, "--temperature", "0", "--max-tokens", String(this.max), "--check", ...(this.model ? ["--model", this.model] : []));
    return Buffer.from(`${line}\r\n${text.replaceAll("\n", "\r\n")}\r\n> `);
  }
}
