//! One batch under all attacks of an evaluation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use temper_core::nn::Frozen;
use temper_core::{
    Ball, Batch, DType, Goal, Member, Network, Passes, Result, Rng, Tensor, Trace, Victim, cross_entropy,
    perturb, rows,
};
use temper_results::{Cost, Record};

use crate::entry::Entry;

/// Who judges what, by what.
pub(crate) struct Judging<'a> {
    /// The network that is judged.
    pub(crate) network: &'a Frozen,
    /// Where images are crafted, if not on that.
    pub(crate) surrogate: Option<&'a Frozen>,
    pub(crate) entry: &'a Entry,
    /// The attacks of the entry.
    pub(crate) members: &'a [Member],
    /// Radius of each image, if each has its own.
    pub(crate) radii: Option<&'a BTreeMap<u64, f64>>,
    pub(crate) rng: Rng,
}

/// A batch, judged.
pub(crate) struct Judged {
    pub(crate) records: Vec<Record>,
    pub(crate) costs: Vec<Cost>,
    /// The image that broke each sample, else the last one tried within the radius, else the clean one, `[n, c, h, w]`.
    pub(crate) images: Tensor,
}

/// What a network says of images.
struct Verdict {
    predictions: Vec<Option<u32>>,
    losses: Vec<f32>,
}

impl Verdict {
    fn of(victim: &Victim, images: &Tensor) -> Result<Self> {
        let logits = victim.logits(images)?;
        let own =
            temper_core::Rows { labels: victim.labels().clone(), positions: victim.positions().clone() };
        let losses = cross_entropy(&logits, &own)?.to_dtype(DType::F32)?.to_vec1()?;
        Ok(Self { predictions: victim.predictions(&logits)?, losses })
    }
}

/// What a minimum-norm attack found: it serves every radius.
struct Found {
    /// From which radius on each sample is broken, by position in the batch; infinite for those that it was not run on, or failed on.
    needed: Vec<f64>,
    images: Tensor,
    predictions: Vec<Option<u32>>,
    losses: Vec<f32>,
}

/// One run of an attack.
struct Run<'a> {
    member: &'a Member,
    radius: f64,
    rng: Rng,
}

impl Judging<'_> {
    /// Judges a batch whose ids are indices in the whole data set.
    pub(crate) fn batch(&self, batch: &Batch) -> Result<Judged> {
        let mut judged = self.natural(batch)?;
        let mut found: Vec<Option<Found>> = self.members.iter().map(|_| None).collect();
        let mut vanished: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); self.members.len()];
        for radius in self.entry.radii() {
            for (i, member) in self.members.iter().enumerate() {
                for restart in 0..member.runs() {
                    let run = Run { member, radius, rng: self.rng_of(i, restart) };
                    let passes = Passes::default();
                    if let Some(cost) = self.attack(&run, batch, &mut found[i], (&passes, &mut judged))? {
                        judged.costs[i + 1].add(&cost);
                    }
                    vanished[i].extend(passes.take_vanished());
                }
            }
        }
        for (cost, vanished) in judged.costs[1..].iter_mut().zip(vanished) {
            cost.vanished = vanished.len();
        }
        Ok(judged)
    }

    /// Runs an attack on what stands; `None` if nothing does.
    fn attack(
        &self,
        run: &Run,
        batch: &Batch,
        found: &mut Option<Found>,
        (passes, judged): (&Passes, &mut Judged),
    ) -> Result<Option<Cost>> {
        let standing: Vec<bool> = judged.records.iter().map(Record::stands).collect();
        let count = |standing: &[bool]| standing.iter().filter(|stands| **stands).count();
        if count(&standing) == 0 {
            return Ok(None);
        }
        let started = Instant::now();
        let mut attacked = count(&standing);
        if run.member.attack.min_norm().is_none() {
            self.within(run, (batch, &standing), passes, judged)?;
        } else {
            let known = match found {
                Some(known) => {
                    attacked = 0;
                    known
                }
                none => none.insert(self.search(run, (batch, &standing), passes, judged)?),
            };
            self.fits(known, run, (batch, &standing), judged)?;
        }
        let after: Vec<bool> = judged.records.iter().map(Record::stands).collect();
        Ok(Some(Cost {
            attack: String::new(),
            attacked,
            broken: count(&standing) - count(&after),
            forwards: passes.forwards(),
            backwards: passes.backwards(),
            seconds: started.elapsed().as_secs_f64(),
            // Told of all runs together.
            vanished: 0,
        }))
    }

    /// Randomness of an attack's run. That of the first one of the first attack does not depend on what else there is.
    fn rng_of(&self, attack: usize, restart: usize) -> Rng {
        let rng = if attack == 0 { self.rng } else { self.rng.named("attack").numbered(attack as u64) };
        if restart == 0 { rng } else { rng.named("run").numbered(restart as u64) }
    }

    /// The clean images.
    fn natural(&self, batch: &Batch) -> Result<Judged> {
        let (started, passes) = (Instant::now(), Passes::default());
        let victim = Victim::new(Network::Frozen(self.network), batch, Goal::Mistake, &passes)?;
        let Verdict { predictions, losses } = Verdict::of(&victim, &batch.pixels)?;
        let labels = batch.labels.to_vec1::<u32>()?;
        let mut records: Vec<Record> = vec![];
        for (i, (label, natural)) in labels.iter().zip(predictions).enumerate() {
            let (sample, loss) = (batch.ids[i], losses[i]);
            records.push(Record {
                sample,
                label: *label,
                natural,
                prediction: natural,
                loss,
                ..Record::default()
            });
        }
        let natural = Cost {
            attack: "natural".into(),
            attacked: batch.len(),
            broken: records.iter().filter(|record| !record.stands()).count(),
            forwards: passes.forwards(),
            backwards: passes.backwards(),
            seconds: started.elapsed().as_secs_f64(),
            vanished: 0,
        };
        let labels = self.members.iter().map(|member| member.label.clone());
        let attacks = labels.map(|attack| Cost { attack, ..Cost::default() });
        let costs = std::iter::once(natural).chain(attacks).collect();
        Ok(Judged { records, costs, images: batch.pixels.clone() })
    }

    /// Those of the batch that are to be attacked: as the network that is judged sees them, and as the one does on which images
    /// are crafted.
    fn victims<'v>(
        &'v self,
        (batch, standing): (&Batch, &[bool]),
        passes: &'v Passes,
    ) -> Result<(Victim<'v>, Victim<'v>)> {
        let view = |network: &'v Frozen, goal: Goal| -> Result<Victim<'v>> {
            Victim::new(Network::Frozen(network), batch, goal, passes)?.rows(standing)
        };
        let judge = view(self.network, Goal::Mistake)?;
        // What transfers is not the first mistake of another network: there the loss is raised to the end.
        let crafted = self.surrogate.map(|network| view(network, Goal::Transfer)).transpose()?;
        Ok((judge.clone(), crafted.unwrap_or(judge)))
    }

    /// An attack within a radius.
    fn within(
        &self,
        run: &Run,
        (batch, standing): (&Batch, &[bool]),
        passes: &Passes,
        judged: &mut Judged,
    ) -> Result<()> {
        let milestones = self.entry.milestones();
        let trace = Trace::new(batch.len(), &milestones);
        let (judge, crafted) = self.victims((batch, standing), passes)?;
        let norm = self.entry.norm();
        let radii: Vec<f64> = judge.ids().iter().map(|id| self.radius(run, *id)).collect::<Result<_>>()?;
        let ball = Ball::new(judge.pixels(), &radii, norm, judge.ids())?;
        let perturbed = perturb(&run.member.attack, &crafted.traced(&trace), &ball, &run.rng)?;
        let Verdict { predictions, losses } = Verdict::of(&judge, &perturbed.pixels)?;
        let distances = ball.distances(&perturbed.pixels, norm)?;
        let (targets, mistaken) = (trace.targets(), trace.mistaken());
        for (row, position) in positions(standing).enumerate() {
            let record = &mut judged.records[position];
            let broken = predictions[row] != Some(record.label);
            record.prediction = predictions[row];
            record.loss = losses[row];
            record.distance = Some(distances[row]);
            record.target = targets[position];
            if broken {
                self.breaks(record, run);
            }
            if !milestones.is_empty() {
                // The image that the attack returns comes after all of its steps.
                let all = run.member.attack.steps();
                let after = milestones.iter().zip(&mistaken[position]);
                let after = after.map(|(steps, mistaken)| *mistaken || broken && Some(*steps) == all);
                record.steps = Some(after.collect());
            }
        }
        judged.images = rows::replace(&judged.images, &perturbed.pixels, standing)?;
        Ok(())
    }

    /// The radius of an image.
    fn radius(&self, run: &Run, id: u64) -> Result<f64> {
        match self.radii {
            None => Ok(run.radius),
            Some(radii) => radii
                .get(&id)
                .copied()
                .ok_or_else(|| temper_core::Error::refused(format!("image {id} has no radius of its own"))),
        }
    }

    fn breaks(&self, record: &mut Record, run: &Run) {
        record.broken_by = Some(run.member.label.clone());
        let swept = self.entry.sweep.as_ref().is_some_and(|sweep| !sweep.radius.is_empty());
        record.radius = swept.then_some(run.radius);
    }

    /// A minimum-norm attack, whatever the radius.
    fn search(
        &self,
        run: &Run,
        (batch, standing): (&Batch, &[bool]),
        passes: &Passes,
        judged: &mut Judged,
    ) -> Result<Found> {
        let trace = Trace::new(batch.len(), &[]);
        let (judge, crafted) = self.victims((batch, standing), passes)?;
        // A ball that holds every image: what is found comes back, however far it is.
        let everywhere = vec![f64::INFINITY; judge.len()];
        let ball = Ball::new(judge.pixels(), &everywhere, self.entry.norm(), judge.ids())?;
        let perturbed = perturb(&run.member.attack, &crafted.traced(&trace), &ball, &run.rng)?;
        let verdict = Verdict::of(&judge, &perturbed.pixels)?;
        let n = batch.len();
        let needed = perturbed.needed.as_ref().unwrap_or(&everywhere);
        let distances = perturbed.distances.as_ref().unwrap_or(&everywhere);
        let mut found = Found {
            needed: vec![f64::INFINITY; n],
            images: rows::replace(&batch.pixels, &perturbed.pixels, standing)?,
            predictions: vec![None; n],
            losses: vec![0.0; n],
        };
        let targets = trace.targets();
        for (row, position) in positions(standing).enumerate() {
            found.needed[position] = needed[row];
            found.predictions[position] = verdict.predictions[row];
            found.losses[position] = verdict.losses[row];
            let record = &mut judged.records[position];
            record.target = targets[position];
            // How far an image must go that another network takes for something else says nothing of this one.
            if self.surrogate.is_none() {
                let least = record.min_norm.map_or(distances[row], |known| known.min(distances[row]));
                record.min_norm = Some(least);
            }
        }
        Ok(found)
    }

    /// Breaks who is found to be broken within a radius.
    fn fits(
        &self,
        found: &Found,
        run: &Run,
        (batch, standing): (&Batch, &[bool]),
        judged: &mut Judged,
    ) -> Result<()> {
        let radii: Vec<f64> = batch.ids.iter().map(|id| self.radius(run, *id)).collect::<Result<_>>()?;
        let far = |position: usize| standing[position] && found.needed[position].is_finite();
        for position in (0..batch.len()).filter(|position| far(*position)) {
            let record = &mut judged.records[position];
            record.prediction = found.predictions[position];
            record.loss = found.losses[position];
            record.distance = Some(found.needed[position]);
            if found.needed[position] <= radii[position] && record.prediction != Some(record.label) {
                self.breaks(record, run);
            }
        }
        let fits = |position: usize| far(position) && found.needed[position] <= radii[position];
        let fitting: Vec<bool> = (0..batch.len()).map(fits).collect();
        judged.images = rows::choose(&fitting, &found.images, &judged.images)?;
        Ok(())
    }
}

/// The places of `true`.
fn positions(mask: &[bool]) -> impl Iterator<Item = usize> {
    mask.iter().enumerate().filter(|(_, named)| **named).map(|(position, _)| position)
}
