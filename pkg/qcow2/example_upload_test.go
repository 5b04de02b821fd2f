package qcow2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A gate for uploads refuses an image that needs another file, and one that may.
func ExampleImage_References() {
	gate := func(img *qcow2.Image) error {
		for file, err := range img.References() {
			if err != nil {
				return fmt.Errorf("it cannot be told what it needs: %w", err)
			}
			return fmt.Errorf("it names a %v: %q (%v)", file.Role, file.Opened(), file.Kind)
		}
		return nil
	}
	for _, upload := range []qcow2test.Image{
		{Size: 1 << 30},
		{BackingFile: "/etc/shadow"},
		{BackingFile: "nbd://192.0.2.1/disk"},
		{IncompatibleFeatures: uint64(qcow2.ExternalDataFile)},
	} {
		file := upload.Build()
		img, err := qcow2.Open(file.Reader(), int64(len(file.Bytes)))
		if err == nil {
			err = gate(img)
		}
		if err == nil {
			fmt.Println("accepted")
			continue
		}
		fmt.Println("refused:", err)
	}
	// Output:
	// accepted
	// refused: it names a backing-file: "/etc/shadow" (absolute)
	// refused: it names a backing-file: "nbd://192.0.2.1/disk" (protocol)
	// refused: it cannot be told what it needs: header at offset 0x48: bit 2 (external data file) is set, but the image does not name the file
}

// The header, the extensions and the names lie in the first cluster: the first
// 64 KiB of most images, here of an HTTP body, say what an image is. The size of
// the whole file comes from elsewhere.
func ExampleOpen_prefix() {
	image := qcow2test.Image{Size: 1 << 40, BackingFile: "base.qcow2"}.Build().Bytes
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(image)))
		w.Write(image)
	}))
	defer server.Close()

	response, err := http.Get(server.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	prefix := make([]byte, 64<<10)
	n, err := io.ReadFull(response.Body, prefix)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // a smaller file
		log.Fatal(err)
	}

	img, err := qcow2.Open(bytes.NewReader(prefix[:n]), int64(n))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("a disk of %d bytes in a file of %d\n", img.Header().VirtualSize(), response.ContentLength)
	for file, err := range img.References() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("reads", file.Name)
	}
	// Output:
	// a disk of 1099511627776 bytes in a file of 262144
	// reads base.qcow2
}

// A Mapper answers for one range after the other, here to find where a sector of
// the disk lies in the file.
func ExampleMapper_Map() {
	img, err := qcow2.OpenFile("../../testdata/images/snapshots.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()

	mapper, err := img.Mapper(context.Background(), qcow2.GuestOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, sector := range []uint64{0, 8, 512} {
		start := sector * 512
		mapper.Map(start, start+512, func(m *qcow2.Mapping, err error) bool {
			if err != nil {
				log.Fatal(err)
			}
			if !m.HasHost {
				fmt.Printf("sector %d: %v\n", sector, m.Kind)
				return true
			}
			fmt.Printf("sector %d: at %#x in the file\n", sector, m.HostOffset+start-m.Start)
			return true
		})
	}
	// Output:
	// sector 0: at 0x6000 in the file
	// sector 8: at 0x3000 in the file
	// sector 512: unallocated
}
