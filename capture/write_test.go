package capture_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tcpwatch/tcpwatch/capture"
)

// onDisk has a Live read a capture and write it to a disk of some size. It returns
// how many packets were read, the files, the oldest first, and what Close said.
func onDisk(t *testing.T, size int64, o capture.WriteOptions, data []byte) (packets int, files []string, err error) {
	t.Helper()
	dir := t.TempDir()
	defer capture.Disk(dir, size)()
	l, w := piped(t, capture.LiveOptions{})
	o.Path = filepath.Join(dir, "x.pcapng")
	file, err := capture.CreateWriter(o)
	if err != nil {
		w.Close()
		l.Close()
		return 0, nil, err
	}
	l.Save(file)
	go func() {
		w.Write(data)
		w.Close()
	}()
	for next(t, l) >= 0 {
	}
	packets = l.Stats().Packets
	err = l.Close()
	files, _ = filepath.Glob(filepath.Join(dir, "*"))
	slices.Sort(files)
	return packets, files, err
}

// whole reads files, of which none may be damaged, and returns how many packets they
// have, and how many they say that they lack.
func whole(t *testing.T, files []string) (packets int, dropped int64) {
	t.Helper()
	for _, path := range files {
		src, err := capture.Open([]string{path}, capture.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range src.Segments() {
			if err != nil {
				t.Fatal(err)
			}
		}
		s := src.Stats()
		if s.Truncated {
			t.Errorf("%s is damaged: %s", path, s.Warnings)
		}
		packets, dropped = packets+s.Packets, dropped+s.Dropped
		src.Close()
	}
	return packets, dropped
}

// Wherever the disk is full, every file ends with a whole block, and of every packet
// that is in none Close tells.
func TestFullDisk(t *testing.T) {
	defer capture.TryAgain(0)()
	data := mustRead(t, "../pcaps/rst-instead-of-ack.pcap")
	for name, o := range map[string]capture.WriteOptions{"one file": {}, "a row": {Size: 700}, "a row, the newest two kept": {Size: 700, Keep: 2}} {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for size := int64(0); ; size += 5 { // at every place of a block, which are of four octets
				packets, files, err := onDisk(t, size, o, data)
				if files == nil && o.Size == 0 && err != nil {
					continue // not even the header of the file
				}
				if err == nil {
					if failed < 50 {
						t.Errorf("it failed with %d sizes only", failed)
					}
					if got, _ := whole(t, files); o.Keep == 0 && got != packets {
						t.Errorf("%d packets of %d were written", got, packets)
					}
					return
				}
				failed++
				got, dropped := whole(t, files)
				told := fmt.Sprintf("no space left on device; %d packets were not written", packets-got)
				if o.Keep > 0 {
					told = "no space left on device;" // packets of files that were taken away were written
				}
				if !strings.Contains(err.Error(), told) || int64(got)+dropped > int64(packets) {
					t.Fatalf("a disk of %d bytes: of %d packets %d were written, %d are told of, and the error is %v", size, packets, got, dropped, err)
				}
			}
		})
	}
}

// When there is room again writing goes on, and the file tells of the packets that it
// lacks.
func TestRoomAgain(t *testing.T) {
	defer capture.TryAgain(0)()
	data := mustRead(t, "../pcaps/rst-instead-of-ack.pcap")
	for name, o := range map[string]capture.WriteOptions{"one file": {}, "a row": {Size: 500}} {
		dir := t.TempDir()
		restore := capture.Disk(dir, 900)
		l, w := piped(t, capture.LiveOptions{})
		o.Path = filepath.Join(dir, "x.pcapng")
		file, err := capture.CreateWriter(o)
		if err != nil {
			t.Fatal(err)
		}
		l.Save(file)
		w.Write(data[:len(data)-200])
		for range 3 {
			next(t, l)
		}
		for range 40 {
			if s, err := l.Next(time.Now().Add(10 * time.Millisecond)); s == nil && err != nil {
				t.Fatal(err)
			}
		}
		restore() // and with it any amount of room
		w.Write(data[len(data)-200:])
		w.Close()
		for next(t, l) >= 0 {
		}
		packets := l.Stats().Packets
		err = l.Close()
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		got, dropped := whole(t, files)
		if err == nil || dropped == 0 || int64(got)+dropped != int64(packets) {
			t.Errorf("%s: of %d packets %d were written and %d are told of; the error is %v", name, packets, got, dropped, err)
		}
	}
}
