package cmd

import (
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// alarm is the tone of values that are bad unless they are 0, false or empty;
// caution of those that are worth a look.
func alarm() []render.Tone   { return []render.Tone{render.ToneAlarm} }
func caution() []render.Tone { return []render.Tone{render.ToneCaution} }

// severityTones returns the tones of severities.
func severityTones() []render.Tone {
	return []render.Tone{
		qcow2.SeverityError:   render.ToneAlarm,
		qcow2.SeverityLeak:    render.ToneCaution,
		qcow2.SeverityWarning: render.ToneCaution,
	}
}

// stateTones returns the tones of the states of bitmaps.
func stateTones() []render.Tone {
	return []render.Tone{
		qcow2.StateInUse:   render.ToneCaution,
		qcow2.StateStale:   render.ToneCaution,
		qcow2.StateDamaged: render.ToneAlarm,
	}
}

// hostTones returns the tones of the kinds of host clusters.
func hostTones() []render.Tone {
	tones := []render.Tone{
		qcow2.HostZeroAllocated: render.ToneZeros,
		qcow2.HostCompressed:    render.ToneCompressed,
		qcow2.HostLeaked:        render.ToneCaution,
		qcow2.HostFree:          render.ToneAbsent,
		qcow2.HostUnknown:       render.ToneCaution,
	}
	for i := range tones {
		if qcow2.HostKind(i).Metadata() {
			tones[i] = render.ToneMetadata
		}
	}
	return tones
}

// mappingTones returns the tones of the kinds of mappings: those of the host
// clusters that they point to.
func mappingTones() []render.Tone {
	return []render.Tone{
		qcow2.MappingUnallocated:   render.ToneAbsent,
		qcow2.MappingZero:          render.ToneZeros,
		qcow2.MappingZeroAllocated: render.ToneZeros,
		qcow2.MappingCompressed:    render.ToneCompressed,
	}
}

// entryTones returns the tones of the kinds of table entries.
func entryTones() []render.Tone {
	tones := append([]render.Tone{qcow2.EntryNone: render.ToneAbsent}, mappingTones()...)
	for len(tones) < len(qcow2.EntryKindNames()) {
		tones = append(tones, 0)
	}
	tones[qcow2.EntryL2Table], tones[qcow2.EntryRefcountBlock], tones[qcow2.EntryStored] = render.ToneMetadata, render.ToneMetadata, render.ToneMetadata
	tones[qcow2.EntryClean] = render.ToneAbsent
	return tones
}
