//! The evaluation of one batch under all attacks of an entry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use temper_core::nn::Frozen;
use temper_core::{
    Ball, Batch, DType, Goal, Member, Passes, Pulse, Result, Rng, Tensor, Trace, Victim, VictimNetwork,
    cross_entropy, perturb, rows,
};
use temper_results::{Cost, Record};

use crate::entry::Entry;

/// Everything that the evaluation of a batch needs.
pub(crate) struct Judging<'a> {
    /// The evaluated network.
    pub(crate) network: &'a Frozen,
    /// The surrogate network on which images are crafted, if there is one.
    pub(crate) surrogate: Option<&'a Frozen>,
    pub(crate) entry: &'a Entry,
    /// The attacks of the entry.
    pub(crate) members: &'a [Member],
    /// The radius of each image by its index in the whole data set, if images have individual radii.
    pub(crate) radii: Option<&'a BTreeMap<u64, f64>>,
    pub(crate) rng: Rng,
    /// Called at every pass.
    pub(crate) pulse: Option<Pulse>,
}

/// The results of a batch.
pub(crate) struct JudgedBatch {
    pub(crate) records: Vec<Record>,
    pub(crate) costs: Vec<Cost>,
    /// Whether the logits of all unperturbed images look like probabilities.
    pub(crate) probabilities: bool,
    /// The image that broke each sample, otherwise the last one tried within the radius, otherwise the clean
    /// one, `[n, c, h, w]`.
    pub(crate) images: Tensor,
}

/// Tolerance for probabilities.
const ROUNDING: f64 = 1e-5;

/// A network's predictions and losses.
struct NetworkOutput {
    logits: Tensor,
    predictions: Vec<Option<u32>>,
    losses: Vec<f32>,
}

impl NetworkOutput {
    fn of(victim: &Victim, images: &Tensor) -> Result<Self> {
        let logits = victim.logits(images)?;
        let own =
            temper_core::Rows { labels: victim.labels().clone(), positions: victim.positions().clone() };
        let losses = cross_entropy(&logits, &own)?.to_dtype(DType::F32)?.to_vec1()?;
        Ok(Self { predictions: victim.predictions(&logits)?, losses, logits })
    }

    /// Whether all logits lie in [0, 1] and each row's sum is 1, to 1e-5 (Croce and Hein 2020).
    fn probabilities(&self) -> Result<bool> {
        let rows = self.logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let near = |row: &Vec<f64>| {
            let within = row.iter().all(|logit| (-ROUNDING..=1.0 + ROUNDING).contains(logit));
            within && (row.iter().sum::<f64>() - 1.0).abs() <= ROUNDING
        };
        Ok(rows.iter().all(|row| row.len() > 1 && near(row)))
    }
}

/// The result of a minimum-norm attack, which is valid for every radius.
struct Found {
    /// The smallest radius at which each sample is broken, by position in the batch; infinite if the attack
    /// failed or was not run on it.
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

/// Results of the iterates of one run, for the samples that it left standing.
#[derive(Default)]
struct Way {
    /// Samples whose score was still rising at the end.
    rising: usize,
    /// Positions of samples with a misclassified iterate.
    silent: Vec<usize>,
}

impl Judging<'_> {
    /// Evaluates a batch whose ids are indices in the whole data set.
    pub(crate) fn batch(&self, batch: &Batch) -> Result<JudgedBatch> {
        let mut judged = self.natural(batch)?;
        let mut found: Vec<Option<Found>> = self.members.iter().map(|_| None).collect();
        let mut vanished: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); self.members.len()];
        let mut silent: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); self.members.len()];
        let mut queries: Vec<BTreeMap<u32, u64>> = vec![BTreeMap::new(); self.members.len()];
        for radius in self.entry.radii() {
            for (i, member) in self.members.iter().enumerate() {
                for restart in 0..member.runs() {
                    let run = Run { member, radius, rng: self.rng_of(i, restart) };
                    let passes = Passes::heard_by(self.pulse.clone());
                    let standing: Vec<bool> = judged.records.iter().map(Record::stands).collect();
                    if let Some((mut cost, unused)) =
                        self.attack(&run, batch, &mut found[i], (&passes, &mut judged))?
                    {
                        silent[i].extend(unused);
                        if restart > 0 && restart + 1 == member.runs() {
                            cost.broken_last = cost.broken;
                        }
                        judged.costs[i + 1].add(&cost);
                    }
                    vanished[i].extend(passes.take_vanished());
                    for (position, asked) in passes.take_queries() {
                        let all = queries[i].entry(position).or_default();
                        *all += asked;
                        judged.records[position as usize].queries = Some(*all);
                    }
                    // A sample that this run broke gets the queries of this attack; an attack with gradients
                    // has none.
                    for position in positions(&standing) {
                        let record = &mut judged.records[position];
                        if !record.stands() {
                            record.queries = queries[i].get(&(position as u32)).copied();
                        }
                    }
                }
            }
        }
        let stands = |position: &&usize| judged.records[**position].stands();
        for (cost, (vanished, silent)) in judged.costs[1..].iter_mut().zip(vanished.iter().zip(&silent)) {
            cost.vanished = vanished.len();
            let left = vanished.iter().filter(|position| judged.records[**position as usize].stands());
            cost.vanished_standing = left.count();
            cost.silent = silent.iter().filter(stands).count();
        }
        Ok(judged)
    }

    /// Runs an attack on the samples that stand; `None` if no sample stands. Also returns the positions of
    /// samples that it left standing although one of its iterates was misclassified.
    fn attack(
        &self,
        run: &Run,
        batch: &Batch,
        found: &mut Option<Found>,
        (passes, judged): (&Passes, &mut JudgedBatch),
    ) -> Result<Option<(Cost, Vec<usize>)>> {
        let standing: Vec<bool> = judged.records.iter().map(Record::stands).collect();
        let count = |standing: &[bool]| standing.iter().filter(|stands| **stands).count();
        if count(&standing) == 0 {
            return Ok(None);
        }
        let started = Instant::now();
        let mut attacked = count(&standing);
        let mut way = Way::default();
        if run.member.attack.min_norm().is_none() {
            way = self.within(run, (batch, &standing), passes, judged)?;
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
        let cost = Cost {
            attacked,
            broken: count(&standing) - count(&after),
            forwards: passes.forwards(),
            backwards: passes.backwards(),
            seconds: started.elapsed().as_secs_f64(),
            rising: way.rising,
            // The caller sets the counts over all runs.
            ..Cost::default()
        };
        Ok(Some((cost, way.silent)))
    }

    /// The random numbers of one run of an attack. Those of the first run of the first attack do not depend
    /// on the other attacks.
    fn rng_of(&self, attack: usize, restart: usize) -> Rng {
        let rng = if attack == 0 { self.rng } else { self.rng.named("attack").numbered(attack as u64) };
        if restart == 0 { rng } else { rng.named("run").numbered(restart as u64) }
    }

    /// The pass over the clean images.
    fn natural(&self, batch: &Batch) -> Result<JudgedBatch> {
        let (started, passes) = (Instant::now(), Passes::heard_by(self.pulse.clone()));
        let victim = Victim::new(VictimNetwork::Frozen(self.network), batch, Goal::Mistake, &passes)?;
        let output = NetworkOutput::of(&victim, &batch.pixels)?;
        let probabilities = output.probabilities()?;
        let NetworkOutput { predictions, losses, .. } = output;
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
            ..Cost::default()
        };
        let labels = self.members.iter().map(|member| member.label.clone());
        let attacks = labels.map(|attack| Cost { attack, ..Cost::default() });
        let costs = std::iter::once(natural).chain(attacks).collect();
        Ok(JudgedBatch { records, costs, probabilities, images: batch.pixels.clone() })
    }

    /// The samples to attack, as victims of the evaluated network and of the network on which images are
    /// crafted.
    fn victims<'v>(
        &'v self,
        (batch, standing): (&Batch, &[bool]),
        passes: &'v Passes,
    ) -> Result<(Victim<'v>, Victim<'v>)> {
        let view = |network: &'v Frozen, goal: Goal| -> Result<Victim<'v>> {
            Victim::new(VictimNetwork::Frozen(network), batch, goal, passes)?.rows(standing)
        };
        let judge = view(self.network, Goal::Mistake)?;
        // A surrogate's first misclassification does not transfer well, so the loss is raised in all steps.
        let crafted = self.surrogate.map(|network| view(network, Goal::Transfer)).transpose()?;
        Ok((judge.clone(), crafted.unwrap_or(judge)))
    }

    /// Runs an attack within a radius.
    fn within(
        &self,
        run: &Run,
        (batch, standing): (&Batch, &[bool]),
        passes: &Passes,
        judged: &mut JudgedBatch,
    ) -> Result<Way> {
        let milestones = self.entry.milestones();
        let trace = Trace::new(batch.len(), &milestones);
        let (judge, crafted) = self.victims((batch, standing), passes)?;
        let norm = self.entry.norm();
        let radii: Vec<f64> = judge.ids().iter().map(|id| self.radius(run, *id)).collect::<Result<_>>()?;
        let ball = Ball::new(judge.pixels(), &radii, norm, judge.ids())?;
        let perturbed = perturb(&run.member.attack, &crafted.traced(&trace), &ball, &run.rng)?;
        let NetworkOutput { predictions, losses, .. } = NetworkOutput::of(&judge, &perturbed.pixels)?;
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
                // The image that the attack returns is the iterate after all of its steps.
                let all = run.member.attack.steps();
                let after = milestones.iter().zip(&mistaken[position]);
                let after = after.map(|(steps, mistaken)| *mistaken || broken && Some(*steps) == all);
                record.steps = Some(after.collect());
            }
        }
        judged.images = rows::replace(&judged.images, &perturbed.pixels, standing)?;
        Ok(self.way(&trace, standing, &judged.records))
    }

    /// Summarises the iterates of the samples that an attack was run on and that stand. Iterates of a surrogate
    /// network show nothing about the evaluated one.
    fn way(&self, trace: &Trace, attacked: &[bool], records: &[Record]) -> Way {
        if self.surrogate.is_some() {
            return Way::default();
        }
        let left: Vec<usize> = positions(attacked).filter(|position| records[*position].stands()).collect();
        let (rising, mistaken) = (trace.still_rising(), trace.ever_mistaken());
        let silent = left.iter().copied().filter(|position| mistaken[*position]).collect();
        Way { rising: left.iter().filter(|position| rising[**position]).count(), silent }
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

    /// Runs a minimum-norm attack, independently of the radius.
    fn search(
        &self,
        run: &Run,
        (batch, standing): (&Batch, &[bool]),
        passes: &Passes,
        judged: &mut JudgedBatch,
    ) -> Result<Found> {
        let trace = Trace::new(batch.len(), &[]);
        let (judge, crafted) = self.victims((batch, standing), passes)?;
        // A ball that contains every image, so that the result is returned at any distance.
        let everywhere = vec![f64::INFINITY; judge.len()];
        let ball = Ball::new(judge.pixels(), &everywhere, self.entry.norm(), judge.ids())?;
        let perturbed = perturb(&run.member.attack, &crafted.traced(&trace), &ball, &run.rng)?;
        let verdict = NetworkOutput::of(&judge, &perturbed.pixels)?;
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
            // The distance at which a surrogate misclassifies an image shows nothing about the evaluated
            // network.
            if self.surrogate.is_none() {
                let least = record.min_norm.map_or(distances[row], |known| known.min(distances[row]));
                record.min_norm = Some(least);
            }
        }
        Ok(found)
    }

    /// Marks the samples as broken whose minimum-norm perturbation lies within the radius.
    fn fits(
        &self,
        found: &Found,
        run: &Run,
        (batch, standing): (&Batch, &[bool]),
        judged: &mut JudgedBatch,
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

/// The indices at which `mask` is true.
fn positions(mask: &[bool]) -> impl Iterator<Item = usize> {
    mask.iter().enumerate().filter(|(_, named)| **named).map(|(position, _)| position)
}
