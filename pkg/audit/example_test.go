package audit_test

import (
	"context"
	"fmt"
	"log"

	"github.com/qinspect/qinspect/pkg/audit"
	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A service judges an upload before anything else opens it.
func ExampleAudit() {
	f, err := qcow2.OpenHostFile(nil, "../../testdata/images/backing.qcow2")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	policy := audit.Strict().With("bitmaps", audit.LevelOff)
	policy.MaxVirtualSize = 2 << 40
	report, err := audit.Audit(context.Background(), audit.File{
		ReaderAt: f, Size: f.Size(), DataRange: f.DataRange, OpenElsewhere: f.OpenElsewhere,
	}, audit.Options{Policy: policy})
	if err != nil {
		log.Fatal(err) // no verdict is no yes
	}
	fmt.Println(report.Verdict)
	for _, finding := range report.Findings {
		fmt.Printf("%s %s: %s\n", finding.Level, finding.Rule, finding.Message)
	}
	// Output:
	// reject
	// reject backing-file: the backing file is "base.qcow2"
}
