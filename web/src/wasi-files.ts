// Files for a program of WASI: those of the user, read in pieces, and those that it makes, kept on disk where the browser has one
// for pages.

import { Directory, SyncOPFSFile, type Inode } from "@bjorn3/browser_wasi_shim";

/** What a file of the shim needs: the methods of FileSystemSyncAccessHandle. */
export interface Handle {
  read(buffer: Uint8Array, options: { at: number }): number;
  write(buffer: Uint8Array, options: { at: number }): number;
  truncate(length: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

/** In Workers only, which TypeScript's library of pages does not have. */
declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

/** Bytes that are read from a user's file at once. */
const WINDOW = 4 << 20;

/** A file of the user's, of which one window at a time is in memory. */
class UserFile implements Handle {
  private readonly reader = new FileReaderSync();
  private window = new Uint8Array();
  private start = 0;

  constructor(private readonly file: Blob) {}

  read(buffer: Uint8Array, { at }: { at: number }): number {
    let done = 0;
    while (done < buffer.length && at + done < this.file.size) {
      const from = at + done;
      if (from < this.start || from >= this.start + this.window.length) {
        this.start = from;
        this.window = new Uint8Array(this.reader.readAsArrayBuffer(this.file.slice(from, from + WINDOW)));
      }
      const piece = this.window.subarray(from - this.start, from - this.start + buffer.length - done);
      buffer.set(piece, done);
      done += piece.length;
    }
    return done;
  }

  getSize = () => this.file.size;
  write = () => 0;
  truncate() {}
  flush() {}
  close() {}
}

/** A file in memory, in pieces. */
class MemoryFile implements Handle {
  private pieces: Uint8Array<ArrayBuffer>[] = [];
  private size = 0;

  private each(at: number, length: number, use: (piece: Uint8Array, from: number) => void) {
    for (let done = 0; done < length; ) {
      const [piece, start] = [Math.floor((at + done) / WINDOW), (at + done) % WINDOW];
      const end = Math.min(WINDOW, start + length - done);
      use((this.pieces[piece] ??= new Uint8Array(WINDOW)).subarray(start, end), done);
      done += end - start;
    }
  }

  read(buffer: Uint8Array, { at }: { at: number }): number {
    const length = Math.max(0, Math.min(buffer.length, this.size - at));
    this.each(at, length, (piece, from) => buffer.set(piece, from));
    return length;
  }

  write(buffer: Uint8Array, { at }: { at: number }): number {
    this.each(at, buffer.length, (piece, from) => piece.set(buffer.subarray(from, from + piece.length)));
    this.size = Math.max(this.size, at + buffer.length);
    return buffer.length;
  }

  truncate(length: number) {
    this.size = length;
    this.pieces.length = Math.ceil(length / WINDOW);
  }

  getSize = () => this.size;
  flush() {}
  close() {}

  blob(): Blob {
    return new Blob(Array.from({ length: Math.ceil(this.size / WINDOW) }, (_, piece) => {
      return (this.pieces[piece] ?? new Uint8Array(WINDOW)).subarray(0, Math.min(WINDOW, this.size - piece * WINDOW));
    }));
  }
}

/** The user's files as a directory; paths have `/` between folders. */
export function userFiles(files: { path: string; file: Blob }[]): Map<string, Inode> {
  const root = new Directory(new Map());
  for (const { path, file } of files) {
    const folders = path.split("/");
    const name = folders.pop()!;
    let directory = root;
    for (const folder of folders) {
      const next = directory.contents.get(folder) ?? new Directory(new Map());
      directory.contents.set(folder, next);
      directory = next as Directory;
    }
    directory.contents.set(name, new SyncOPFSFile(new UserFile(file) as never, { readonly: true }));
  }
  return root.contents;
}

/** A directory whose new files are all one file, which is complete when the program gives it its name. */
export class OutputDirectory extends Directory {
  private constructor(
    private readonly handle: Handle,
    private readonly finish: () => Promise<Blob>,
  ) {
    super(new Map());
  }

  /** On disk if the browser has the origin private file system, otherwise in memory. */
  static async create(name: string): Promise<OutputDirectory> {
    try {
      const root = await navigator.storage.getDirectory();
      const file = await root.getFileHandle(name, { create: true });
      const handle = await (file as unknown as { createSyncAccessHandle(): Promise<Handle> }).createSyncAccessHandle();
      handle.truncate(0);
      return new OutputDirectory(handle, () => file.getFile());
    } catch {
      const file = new MemoryFile();
      return new OutputDirectory(file, async () => file.blob());
    }
  }

  override create_entry_for_path(path: string, isDirectory: boolean): ReturnType<Directory["create_entry_for_path"]> {
    if (isDirectory) return super.create_entry_for_path(path, isDirectory);
    const file = new SyncOPFSFile(this.handle as never);
    this.contents.set(path, file);
    return { ret: 0, entry: file };
  }

  /** The file, once the program has ended. */
  async take(): Promise<Blob> {
    this.handle.flush();
    this.handle.close();
    return this.finish();
  }
}
