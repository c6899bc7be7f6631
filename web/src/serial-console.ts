// The console of a board on a serial port.

/** Hears the lines of a board and sends lines to it. */
export class SerialConsole {
  private reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  private ended: Promise<void> = Promise.resolve();
  private received = "";
  private wake = () => {};

  /** @param show Hears the text as it comes. */
  constructor(
    private readonly port: SerialPort,
    private readonly show: (text: string) => void,
  ) {}

  /** Opens the port, at the speed of every board. */
  async open(): Promise<void> {
    await this.port.open({ baudRate: 115_200, bufferSize: 1 << 16 });
    this.ended = this.listen();
  }

  async close(): Promise<void> {
    await this.reader?.cancel();
    await this.ended;
    await this.port.close();
  }

  /** Resets the board into its firmware: RTS pulls EN, and DTR leaves IO0 alone. */
  async reset(): Promise<void> {
    await this.port.setSignals({ dataTerminalReady: false, requestToSend: true });
    await new Promise((resolve) => setTimeout(resolve, 200));
    await this.port.setSignals({ dataTerminalReady: false, requestToSend: false });
  }

  async send(line: string): Promise<void> {
    const writer = this.port.writable!.getWriter();
    try {
      await writer.write(new TextEncoder().encode(`${line}\r`));
    } finally {
      writer.releaseLock();
    }
  }

  /** Sends a line and waits for what `answer` finds in the text that comes after it. */
  async ask(line: string, answer: RegExp, seconds: number): Promise<RegExpMatchArray> {
    this.received = "";
    await this.send(line);
    const end = performance.now() + seconds * 1000;
    for (;;) {
      const found = this.received.match(answer);
      if (found) return found;
      const left = end - performance.now();
      if (left <= 0) throw new Error(`the board did not answer ${JSON.stringify(line)} within ${seconds} seconds; reset it and try again`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  private async listen(): Promise<void> {
    const decoder = new TextDecoder();
    while (this.port.readable) {
      this.reader = this.port.readable.getReader();
      try {
        for (;;) {
          const { value, done } = await this.reader.read();
          if (done) return;
          const text = decoder.decode(value, { stream: true });
          this.received += text;
          this.show(text);
          this.wake();
        }
      } catch (error) {
        // A byte that was not received well; the port gives a new stream. Without one, the cable is out.
        if (!this.port.readable) return this.show(`\n[the port was lost: ${(error as Error).message}]\n`);
      } finally {
        this.reader.releaseLock();
      }
    }
  }
}
